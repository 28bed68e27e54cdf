import type { Codec } from "./codec.ts";
import { XdrReader } from "./reader.ts";

/** Decodes bytes that must hold one value and nothing else. Throws ProtocolError when they do not. */
export function decodeWhole<T>(codec: Codec<T>, bytes: Buffer): T {
  const reader = new XdrReader(bytes);
  const value = codec.decode(reader);
  reader.end();
  return value;
}
