import { paddingOf } from "./reader.ts";

/** What most calls fit into; taken from Node's pool of small buffers, so that a call costs no allocation. */
const INITIAL_BYTES = 256;

/**
 * Writes XDR values (RFC 4506) into one buffer that grows as needed.
 *
 * The methods trust their values: the codecs check ranges and bounds before they write.
 */
export class XdrWriter {
  #bytes = Buffer.allocUnsafe(INITIAL_BYTES);
  #length = 0;

  int(value: number): void {
    const start = this.#reserve(4);
    this.#bytes.writeInt32BE(value, start);
  }

  uint(value: number): void {
    const start = this.#reserve(4);
    this.#bytes.writeUInt32BE(value, start);
  }

  hyper(value: bigint): void {
    const start = this.#reserve(8);
    this.#bytes.writeBigInt64BE(value, start);
  }

  uhyper(value: bigint): void {
    const start = this.#reserve(8);
    this.#bytes.writeBigUInt64BE(value, start);
  }

  double(value: number): void {
    const start = this.#reserve(8);
    this.#bytes.writeDoubleBE(value, start);
  }

  /** Writes bytes and their padding, without a length. */
  opaque(value: Uint8Array): void {
    const start = this.#reservePadded(value.length);
    this.#bytes.set(value, start);
  }

  /** Writes text as UTF-8 with its padding, without a length. `byteLength` is its length in UTF-8. */
  text(value: string, byteLength: number): void {
    const start = this.#reservePadded(byteLength);
    this.#bytes.write(value, start, byteLength, "utf8");
  }

  /** Writes over four bytes that were written before: a length that was not known then. */
  patchUint(offset: number, value: number): void {
    this.#bytes.writeUInt32BE(value, offset);
  }

  /** What was written. The writer must not be used afterwards. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  get length(): number {
    return this.#length;
  }

  #reservePadded(length: number): number {
    const padding = paddingOf(length);
    const start = this.#reserve(length + padding);
    // The buffer comes uncleared: stale bytes must not leave the process as padding.
    this.#bytes.fill(0, start + length, start + length + padding);
    return start;
  }

  /** May replace the buffer: to be called before the buffer is looked up. */
  #reserve(length: number): number {
    const start = this.#length;
    const needed = start + length;
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2));
      this.#bytes.copy(grown, 0, 0, start);
      this.#bytes = grown;
    }
    this.#length = needed;
    return start;
  }
}
