import { ProtocolError } from "../errors.ts";
import { XdrWriter } from "../xdr/writer.ts";

/** The longest message, its length field included, in bytes. */
export const FRAME_MAX = 33_554_432;
/** The length field and the six fields of the header, in bytes. */
export const HEADER_BYTES = 28;
const LENGTH_BYTES = 4;

/** What a message is. */
export const MessageType = {
  Call: 0,
  Reply: 1,
  Message: 2,
  Stream: 3,
  CallWithFds: 4,
  ReplyWithFds: 5,
  StreamHole: 6,
} as const;

/** How a message ended. */
export const MessageStatus = { Ok: 0, Error: 1, Continue: 2 } as const;

/** The header of every message. */
export interface Header {
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  readonly type: number;
  readonly serial: number;
  readonly status: number;
}

/** A whole message. The payload is a view that is valid only until the next chunk is split. */
export interface Frame extends Header {
  readonly payload: Buffer;
}

/** Builds a message. Throws RangeError when it is longer than libvirt accepts. */
export function encodeFrame(header: Header, encodePayload: (to: XdrWriter) => void): Buffer {
  const writer = new XdrWriter();
  writer.uint(0);
  writer.uint(header.program);
  writer.uint(header.version);
  writer.uint(header.procedure);
  writer.uint(header.type);
  writer.uint(header.serial);
  writer.uint(header.status);
  encodePayload(writer);
  if (writer.length > FRAME_MAX) {
    throw new RangeError(`a message of ${writer.length} bytes exceeds libvirt's limit of ${FRAME_MAX}`);
  }
  writer.patchUint(0, writer.length);
  return writer.finish();
}

/**
 * Splits a stream of bytes into messages, however the bytes are cut into chunks.
 *
 * Whole messages are handed out as views into their chunk. Only a message that spans chunks is copied, into a
 * buffer that grows with the bytes that really came: a false length allocates nothing, and a message that
 * trickles in byte by byte costs linear time and at most twice its size.
 */
export class FrameSplitter {
  readonly #maxBytes: number;
  #partial: Buffer = Buffer.alloc(0);
  #partialBytes = 0;

  /** `maxBytes` is the longest message to accept. */
  constructor(maxBytes = FRAME_MAX) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Takes the next chunk and hands out every message that it completes, in order.
   * Throws ProtocolError for a length that no message can have; nothing can be read from the stream after it.
   */
  split(chunk: Buffer, onFrame: (frame: Frame) => void): void {
    let rest = chunk;
    while (this.#partialBytes > 0 && rest.length > 0) {
      rest = this.#fill(rest, onFrame);
    }
    while (rest.length >= LENGTH_BYTES) {
      const length = this.#lengthOf(rest);
      if (rest.length < length) {
        break;
      }
      const whole = rest.subarray(0, length);
      rest = rest.subarray(length);
      onFrame(parseFrame(whole));
    }
    this.#append(rest);
  }

  /** Moves bytes from `rest` to the message that has begun; hands it out when it is whole. */
  #fill(rest: Buffer, onFrame: (frame: Frame) => void): Buffer {
    const known = this.#partialBytes >= LENGTH_BYTES;
    const wanted = known ? this.#lengthOf(this.#partial) : LENGTH_BYTES;
    const taken = Math.min(wanted - this.#partialBytes, rest.length);
    this.#append(rest.subarray(0, taken));
    if (known && this.#partialBytes === wanted) {
      const whole = this.#partial.subarray(0, wanted);
      this.#partial = Buffer.alloc(0);
      this.#partialBytes = 0;
      onFrame(parseFrame(whole));
    } else if (this.#partialBytes === LENGTH_BYTES) {
      this.#lengthOf(this.#partial);
    }
    return rest.subarray(taken);
  }

  #lengthOf(bytes: Buffer): number {
    const length = bytes.readUInt32BE(0);
    if (length < HEADER_BYTES || length > this.#maxBytes) {
      throw new ProtocolError(
        `a message claims a length of ${length} bytes; between ${HEADER_BYTES} and ${this.#maxBytes} are possible`,
      );
    }
    return length;
  }

  #append(bytes: Buffer): void {
    if (bytes.length === 0) {
      return;
    }
    const needed = this.#partialBytes + bytes.length;
    if (needed > this.#partial.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#partial.length * 2, HEADER_BYTES));
      this.#partial.copy(grown, 0, 0, this.#partialBytes);
      this.#partial = grown;
    }
    bytes.copy(this.#partial, this.#partialBytes);
    this.#partialBytes = needed;
  }
}

function parseFrame(whole: Buffer): Frame {
  return {
    program: whole.readUInt32BE(4),
    version: whole.readUInt32BE(8),
    procedure: whole.readUInt32BE(12),
    type: whole.readUInt32BE(16),
    serial: whole.readUInt32BE(20),
    status: whole.readUInt32BE(24),
    payload: whole.subarray(HEADER_BYTES),
  };
}
