import { ProtocolError } from "../errors.ts";
import type { Codec } from "./codec.ts";

/** XDR int: a whole number from -2^31 to 2^31 - 1. */
export const int: Codec<number> = {
  shape: { type: "int" },
  leastBytes: 4,
  decode: (from) => from.int(),
  encode: (to, value) => to.int(checkWhole(value, -0x8000_0000, 0x7fff_ffff)),
};

/** XDR unsigned int: a whole number from 0 to 2^32 - 1. */
export const uint: Codec<number> = {
  shape: { type: "uint" },
  leastBytes: 4,
  decode: (from) => from.uint(),
  encode: (to, value) => to.uint(checkWhole(value, 0, 0xffff_ffff)),
};

/** XDR hyper: 64 bits. Always a bigint, because a number would round silently above 2^53. */
export const hyper: Codec<bigint> = {
  shape: { type: "hyper" },
  leastBytes: 8,
  decode: (from) => from.hyper(),
  encode: (to, value) => to.hyper(value),
};

/** XDR unsigned hyper: 64 bits. Always a bigint, because a number would round silently above 2^53. */
export const uhyper: Codec<bigint> = {
  shape: { type: "uhyper" },
  leastBytes: 8,
  decode: (from) => from.uhyper(),
  encode: (to, value) => to.uhyper(value),
};

/** XDR double. */
export const double: Codec<number> = {
  shape: { type: "double" },
  leastBytes: 8,
  decode: (from) => from.double(),
  encode: (to, value) => to.double(value),
};

/** XDR bool: an int that is 0 or 1. */
export const bool: Codec<boolean> = {
  shape: { type: "bool" },
  leastBytes: 4,
  decode: (from) => {
    const value = from.uint();
    if (value > 1) {
      throw new ProtocolError(`${value} is neither 0 nor 1 at byte ${from.offset - 4}`);
    }
    return value === 1;
  },
  encode: (to, value) => to.uint(value ? 1 : 0),
};

/**
 * XDR string of at most `max` bytes of UTF-8.
 *
 * Bytes that are not UTF-8 are read as U+FFFD, so that one odd name cannot hide all other domains of a list:
 * libvirt finds a domain by its UUID, never by the name that is sent along.
 */
export function string(max: number): Codec<string> {
  return {
    shape: { type: "string", max },
    leastBytes: 4,
    decode: (from) => from.text(from.length(max, 1)),
    encode: (to, value) => {
      // The other side is C: it would take the text up to the NUL for the whole.
      if (value.includes("\0")) {
        throw new TypeError("a string for libvirt cannot contain the character U+0000");
      }
      const length = Buffer.byteLength(value, "utf8");
      checkLength(length, max, "bytes");
      to.uint(length);
      to.text(value, length);
    },
  };
}

/** XDR opaque of exactly `length` bytes. Decodes into a copy. */
export function fixedOpaque(length: number): Codec<Uint8Array> {
  return {
    shape: { type: "fixedOpaque", length },
    leastBytes: length,
    decode: (from) => from.opaque(length),
    encode: (to, value) => {
      if (value.length !== length) {
        throw new RangeError(`${length} bytes are needed, ${value.length} were given`);
      }
      to.opaque(value);
    },
  };
}

/** XDR opaque of at most `max` bytes. Decodes into a copy. */
export function opaque(max: number): Codec<Uint8Array> {
  return {
    shape: { type: "opaque", max },
    leastBytes: 4,
    decode: (from) => from.opaque(from.length(max, 1)),
    encode: (to, value) => {
      checkLength(value.length, max, "bytes");
      to.uint(value.length);
      to.opaque(value);
    },
  };
}

/**
 * XDR vector of exactly `length` chars that hold a C string: four bytes for each char, and the text ends at the first
 * that is 0. Text that fills the vector has none.
 */
export function charVector(length: number): Codec<string> {
  return {
    shape: { type: "charVector", length },
    leastBytes: length * 4,
    decode: (from) => {
      const chars = Buffer.alloc(length);
      for (let index = 0; index < length; index++) {
        chars[index] = charOf(from.int());
      }
      const end = chars.indexOf(0);
      return chars.toString("utf8", 0, end === -1 ? length : end);
    },
    encode: (to, value) => {
      const chars = Buffer.from(value, "utf8");
      checkLength(chars.length, length, "bytes");
      if (chars.includes(0)) {
        throw new TypeError("a string for libvirt cannot contain the character U+0000");
      }
      for (let index = 0; index < length; index++) {
        to.int(chars[index] ?? 0);
      }
    },
  };
}

/** A char has a sign on some processors and none on others. */
function charOf(value: number): number {
  if (value < -0x80 || value > 0xff) {
    throw new ProtocolError(`${value} is no char`);
  }
  return value & 0xff;
}

/** Throws RangeError when a length exceeds its bound. */
export function checkLength(length: number, max: number, unit: string): void {
  if (length > max) {
    throw new RangeError(`${length} ${unit} exceed the bound of ${max}`);
  }
}

function checkWhole(value: number, least: number, most: number): number {
  // Buffer rejects what is out of range, but cuts fractions off and takes NaN for 0.
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new RangeError(`${value} is not a whole number from ${least} to ${most}`);
  }
  return value;
}
