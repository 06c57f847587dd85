# A run image like distroless images: node in /nodejs/bin and the libraries that it loads.
FROM node:26-bookworm-slim AS full
RUN mkdir -p /bare/nodejs/bin \
 && cp /usr/local/bin/node /bare/nodejs/bin/ \
 && ldd /usr/local/bin/node | grep -o '/[^ ]*' | xargs cp --parents --dereference -t /bare

FROM scratch
COPY --from=full /bare /
ENTRYPOINT ["/nodejs/bin/node"]
