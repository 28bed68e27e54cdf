import { ProtocolError } from "../errors.ts";

/**
 * Reads XDR values (RFC 4506) from one message, front to back.
 *
 * Every method checks that its bytes are there before it touches them, and throws ProtocolError when they
 * are not. The bytes are not copied: nothing that a method returns refers to them afterwards.
 */
export class XdrReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** How many bytes are left to read. */
  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  /** How many bytes were read: where an error is. */
  get offset(): number {
    return this.#offset;
  }

  int(): number {
    return this.#bytes.readInt32BE(this.#take(4));
  }

  uint(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  hyper(): bigint {
    return this.#bytes.readBigInt64BE(this.#take(8));
  }

  uhyper(): bigint {
    return this.#bytes.readBigUInt64BE(this.#take(8));
  }

  double(): number {
    return this.#bytes.readDoubleBE(this.#take(8));
  }

  /** Reads a count or length and checks it against its bound and against the bytes that are really left. */
  length(max: number, leastBytesEach: number): number {
    const length = this.uint();
    if (length > max) {
      throw new ProtocolError(
        `a length of ${length} exceeds its bound of ${max} at byte ${this.#offset - 4}`,
      );
    }
    if (length * leastBytesEach > this.remaining) {
      throw new ProtocolError(
        `a length of ${length} at byte ${this.#offset - 4} needs more than the ${this.remaining} bytes that follow`,
      );
    }
    return length;
  }

  /** Reads `length` bytes and their padding into a copy. */
  opaque(length: number): Uint8Array {
    const start = this.#takePadded(length);
    return new Uint8Array(this.#bytes.subarray(start, start + length));
  }

  /** Reads `length` bytes of UTF-8 and their padding. A byte that is not UTF-8 becomes U+FFFD. */
  text(length: number): string {
    const start = this.#takePadded(length);
    return this.#bytes.toString("utf8", start, start + length);
  }

  /** Reads `length` bytes and their padding as lower-case hexadecimal. */
  hex(length: number): string {
    const start = this.#takePadded(length);
    return this.#bytes.toString("hex", start, start + length);
  }

  /** Checks that nothing follows: bytes nobody asked for mean that the two sides disagree about the layout. */
  end(): void {
    if (this.remaining > 0) {
      throw new ProtocolError(`${this.remaining} bytes follow the end of the value at byte ${this.#offset}`);
    }
  }

  #take(length: number): number {
    const start = this.#offset;
    if (length > this.#bytes.length - start) {
      throw new ProtocolError(`${length} bytes were expected at byte ${start}, ${this.remaining} are left`);
    }
    this.#offset = start + length;
    return start;
  }

  #takePadded(length: number): number {
    const padding = paddingOf(length);
    const start = this.#take(length + padding);
    for (let index = start + length; index < start + length + padding; index++) {
      if (this.#bytes[index] !== 0) {
        throw new ProtocolError(`a padding byte is not zero at byte ${index}`);
      }
    }
    return start;
  }
}

/** How many zero bytes follow `length` bytes so that the next value starts at a multiple of four. */
export function paddingOf(length: number): number {
  return (4 - (length % 4)) % 4;
}
