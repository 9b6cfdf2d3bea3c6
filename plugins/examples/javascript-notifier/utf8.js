// Text to bytes and back: the engine inside the component has no TextEncoder, which belongs to browsers and Node.

export function encode(text) {
  return Uint8Array.from(unescape(encodeURIComponent(text)), (char) => char.charCodeAt(0));
}

/** Bytes that are no UTF-8 are shown one by one rather than lost. */
export function decode(bytes) {
  const chars = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  try {
    return decodeURIComponent(escape(chars));
  } catch {
    return chars;
  }
}
