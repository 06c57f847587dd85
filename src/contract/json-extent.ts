/** The bytes of `"`, `,`, `[`, backslash and `{`. */
const [quote, comma, bracket, backslash, brace] = [0x22, 0x2C, 0x5B, 0x5C, 0x7B]

/**
 * Returns whether JSON text contains too many values. Counts commas and the beginnings of objects and lists outside of
 * strings, because each value follows one of them. An empty object or list counts twice. Parsing 500,000 nested lists
 * takes 400 ms. Counting to 50,000 takes 1 ms.
 */
export function hasMoreValues (json: Uint8Array, most: number): boolean {
  if (json.length <= most) return false
  let count = 0
  let isString = false
  for (let at = 0; at < json.length; at += 1) {
    const byte = json[at]
    if (byte === quote) isString = !isString
    else if (isString) at += byte === backslash ? 1 : 0
    else if (byte === comma || byte === bracket || byte === brace) count += 1
    if (count > most) return true
  }
  return false
}
