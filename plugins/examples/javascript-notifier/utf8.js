// Conversion between text and bytes. The engine inside the component has no TextEncoder: only browsers and Node have one.

export function encode(text) {
  return Uint8Array.from(unescape(encodeURIComponent(text)), (char) => char.charCodeAt(0));
}

/** Decodes bytes. Bytes that are not valid UTF-8 become one character each, so that no byte is lost. */
export function decode(bytes) {
  const chars = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  try {
    return decodeURIComponent(escape(chars));
  } catch {
    return chars;
  }
}
