# Targets: `service` (the default) and `emulator`. The run image needs Node 22.14 or newer and nothing
# else: no shell, no npm.
ARG NODE_BUILD_IMAGE=node:26-bookworm-slim
ARG NODE_RUN_IMAGE=node:26-bookworm-slim
# Pins the run image, for example to sha256:…, and is the label of its digest.
ARG NODE_RUN_DIGEST=

FROM $NODE_BUILD_IMAGE AS source
WORKDIR /build
COPY package.json package-lock.json .npmrc ./

FROM source AS dependencies
# Half of what packages ship is type declarations, source maps, tests, and copies for bundlers: Node reads none of them.
# test/image runs what is left.
RUN npm ci --ignore-scripts --omit=dev \
 && find node_modules -type f \( -name '*.ts' -o -name '*.[cm]ts' -o -name '*.map' \) -delete \
 && find node_modules -type d \( -name test -o -name tests -o -name benchmark -o -name benchmarks -o -name esnext \) \
    -prune -exec rm -r {} +

FROM source AS build
RUN npm ci --ignore-scripts
COPY tsconfig.json LICENSE ./
COPY src ./src
COPY openapi ./openapi
# The modes are set here because those of the files copied in are the checkout's.
RUN npm run build \
 && mkdir -p /service/dist /service/openapi /emulator/dist \
 && mv dist/emulator /emulator/dist/ \
 && rm -f dist/demo.js* dist/docs.js* dist/openapi.js* \
 && mv dist/* /service/dist/ \
 && install -m 644 openapi/* /service/openapi/ \
 && install -m 644 package.json LICENSE /service/ \
 && install -m 644 package.json LICENSE /emulator/

FROM $NODE_RUN_IMAGE${NODE_RUN_DIGEST:+@$NODE_RUN_DIGEST} AS runtime
ARG NODE_RUN_IMAGE
ARG NODE_RUN_DIGEST
# docs/release.md says how to set these: the commit, and its time in the form of RFC 3339.
ARG REVISION=
ARG CREATED=
# /nodejs/bin is where distroless images keep node.
# Without bounds V8 lets garbage lie for as long as the machine has memory. NODE_OPTIONS is where others can be set.
ENV NODE_ENV=production \
    NODE_OPTIONS="--max-semi-space-size=8 --max-old-space-size=384" \
    PATH=/usr/local/bin:/usr/bin:/bin:/nodejs/bin
LABEL org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.base.name="$NODE_RUN_IMAGE" \
      org.opencontainers.image.base.digest="$NODE_RUN_DIGEST"
WORKDIR /app
COPY --from=dependencies /build/node_modules ./node_modules
USER 65532:65532
# No init process: the program starts no children to reap, and handles SIGTERM itself, which process 1 must.
STOPSIGNAL SIGTERM
# SIGUSR1 would open Node's inspector until the program has begun to listen for the signal. The option is why the run
# image needs Node 22.14 or newer: an older Node exits with "bad option".
ENTRYPOINT ["node", "--disable-sigusr1", "--enable-source-maps"]

FROM runtime AS emulator
LABEL org.opencontainers.image.title="cos-inventory-proxy emulator" \
      org.opencontainers.image.description="Emulator of the bucket inventory API of Tencent Cloud COS, for tests and demonstrations"
COPY --from=build /emulator ./
ENV EMULATOR_HOST=0.0.0.0
EXPOSE 9000
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.EMULATOR_PORT ?? 9000) + '/_emulator/health').then(answer => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
CMD ["dist/emulator/main.js"]

FROM runtime AS service
LABEL org.opencontainers.image.title="cos-inventory-proxy" \
      org.opencontainers.image.description="REST microservice in front of the bucket inventory API of Tencent Cloud COS"
COPY --from=build /service ./
ENV HOST=0.0.0.0
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["node", "dist/health-check.js"]
CMD ["dist/server.js"]
