import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { ProtocolError } from "../../../src/libvirt/errors.ts";
import { decodeWhole } from "../../../src/libvirt/xdr/decode.ts";
import { events, hostEvents } from "../../../src/libvirt/protocol/events.ts";
import { connectionProcedures, procedures } from "../../../src/libvirt/protocol/procedures.ts";
import { domain, domainStats, remoteError, typedParam, uuid } from "../../../src/libvirt/protocol/types.ts";
import type { Codec } from "../../../src/libvirt/xdr/codec.ts";
import { array, optional, struct, union } from "../../../src/libvirt/xdr/compound.ts";
import {
  bool,
  charVector,
  double,
  fixedOpaque,
  hyper,
  int,
  opaque,
  string,
  uhyper,
  uint,
} from "../../../src/libvirt/xdr/primitives.ts";
import { XdrWriter } from "../../../src/libvirt/xdr/writer.ts";
import { arbitraryOf } from "./arbitrary.ts";

function encode<T>(codec: Codec<T>, value: T): Buffer {
  const writer = new XdrWriter();
  codec.encode(writer, value);
  return writer.finish();
}

function bytes(...words: number[]): Buffer {
  const buffer = Buffer.alloc(words.length * 4);
  words.forEach((word, index) => buffer.writeUInt32BE(word >>> 0, index * 4));
  return buffer;
}

const codecs: Record<string, Codec<unknown>> = {
  int,
  uint,
  hyper,
  uhyper,
  double,
  bool,
  "string of 5 bytes": string(5),
  "vector of 5 chars": charVector(5),
  "fixed opaque": fixedOpaque(7),
  opaque: opaque(50),
  "optional uint": optional(uint),
  "array of strings": array(string(20), 5),
  struct: struct({ a: int, b: optional(string(9)), c: array(opaque(3), 2) }),
  union: union({ a: [1, int], b: [-5, string(9)] }),
  uuid,
  domain,
  typedParam,
  domainStats,
  remoteError,
};
for (const procedure of Object.values({ ...procedures, ...connectionProcedures })) {
  codecs[`${procedure.name} arguments`] = procedure.args;
  codecs[`${procedure.name} result`] = procedure.result;
}
for (const event of Object.values({ ...events, ...hostEvents })) {
  codecs[`${event.name} event`] = event.payload;
}

describe("every codec", () => {
  for (const [name, codec] of Object.entries(codecs)) {
    const arbitrary = arbitraryOf(codec);

    it(`${name}: reads what it wrote`, () => {
      fc.assert(
        fc.property(arbitrary, (value) => {
          const encoded = encode(codec, value);
          assert.deepEqual(decodeWhole(codec, encoded), value);
          assert.equal(encoded.length % 4, 0, "XDR values take multiples of four bytes");
          assert.ok(encoded.length >= codec.leastBytes, "leastBytes is a lower bound");
        }),
        { numRuns: 50 },
      );
    });

    it(`${name}: rejects what is cut off anywhere, and what has something after it`, () => {
      fc.assert(
        fc.property(arbitrary, (value) => {
          const encoded = encode(codec, value);
          for (let length = 0; length < encoded.length; length++) {
            assert.throws(() => decodeWhole(codec, encoded.subarray(0, length)), ProtocolError);
          }
          assert.throws(() => decodeWhole(codec, Buffer.concat([encoded, bytes(0)])), ProtocolError);
        }),
        { numRuns: 10 },
      );
    });

    it(`${name}: reads garbage to a value or a ProtocolError, never to anything else`, () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 200 }), (garbage) => {
          readOrProtocolError(codec, Buffer.from(garbage));
        }),
      );
    });

    it(`${name}: survives a change of any byte of a good value`, () => {
      fc.assert(
        fc.property(arbitrary, fc.nat(), fc.integer({ min: 1, max: 255 }), (value, where, change) => {
          const encoded = Buffer.from(encode(codec, value));
          const index = where % Math.max(encoded.length, 1);
          encoded[index] = (encoded[index] ?? 0) ^ change;
          readOrProtocolError(codec, encoded);
        }),
        { numRuns: 50 },
      );
    });
  }
});

function readOrProtocolError(codec: Codec<unknown>, input: Buffer): void {
  try {
    decodeWhole(codec, input);
  } catch (error) {
    assert.ok(error instanceof ProtocolError, String(error));
  }
}

describe("a length that lies", () => {
  const claims: Record<string, readonly [codec: Codec<unknown>, input: Buffer]> = {
    "2^32-1 items of an unbounded array": [array(uint, 0xffff_ffff), bytes(0xffff_ffff)],
    "2^32-1 items of a bounded array": [array(uint, 16_384), bytes(0xffff_ffff)],
    "as many items as the bound allows": [array(domainStats, 16_384), bytes(16_384, 0, 0)],
    "one item more than there are bytes for": [array(uint, 10), bytes(3, 0, 0)],
    "a string of 2^32-1 bytes": [string(0xffff_ffff), bytes(0xffff_ffff, 0)],
    "a string as long as the bound allows": [string(4_194_304), bytes(4_194_304, 0)],
    "an opaque of 2^31 bytes": [opaque(0xffff_ffff), bytes(0x8000_0000, 0)],
    "a string whose padding is missing": [string(10), Buffer.concat([bytes(2), Buffer.from("ab")])],
  };
  for (const [name, [codec, input]] of Object.entries(claims)) {
    it(`${name}: an error, and nothing is allocated for it`, () => {
      const allocated = Array.from({ length: 5 }, () => {
        const before = allocatedBytes();
        assert.throws(() => decodeWhole(codec, input), ProtocolError);
        return allocatedBytes() - before;
      });
      // The least: other parts of this process allocate, too.
      assert.ok(Math.min(...allocated) < 256 * 1024, `${allocated.join(", ")} bytes`);
    });
  }
});

function allocatedBytes(): number {
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + external + arrayBuffers;
}

describe("what XDR forbids", () => {
  const forbidden: Record<string, readonly [codec: Codec<unknown>, input: Buffer, message: RegExp]> = {
    "a bool of 2": [bool, bytes(2), /neither 0 nor 1/],
    "an optional's flag of 2": [optional(uint), bytes(2, 0), /neither 0 nor 1/],
    "a char of 256": [charVector(1), bytes(256), /no char/],
    "a char of -129": [charVector(1), bytes(-129), /no char/],
    "padding that is not zero": [string(9), Buffer.from([0, 0, 0, 1, 97, 0, 0, 1]), /padding/],
    "a case that the union does not have": [typedParam, bytes(0, 8, 0), /no case/],
  };
  for (const [name, [codec, input, message]] of Object.entries(forbidden)) {
    it(`${name} is an error`, () => {
      assert.throws(() => decodeWhole(codec, input), message);
    });
  }
});

describe("what cannot be sent", () => {
  const values: Record<string, readonly [codec: Codec<unknown>, value: unknown, message: RegExp]> = {
    "an int above 2^31-1": [int, 2 ** 31, /whole number/],
    "an int with a fraction": [int, 1.5, /whole number/],
    "a uint below 0": [uint, -1, /whole number/],
    NaN: [uint, Number.NaN, /whole number/],
    "a hyper above 2^63-1": [hyper, 2n ** 63n, /out of range|range/],
    "a string beyond its bound, counted in bytes": [string(5), "ääa€", /bound of 5/],
    "a string with U+0000, which C would cut off there": [string(5), "a\0b", /U\+0000/],
    "a text beyond its vector of chars": [charVector(2), "aä", /bound of 2/],
    "a text with U+0000 in a vector of chars": [charVector(9), "a\0b", /U\+0000/],
    "an opaque of another length": [fixedOpaque(4), new Uint8Array(3), /4 bytes/],
    "more items than the bound": [array(uint, 2), [1, 2, 3], /bound of 2/],
    "a UUID without its form": [uuid, "6695eb01", /not a UUID/],
    "a case that the union does not have": [union({ a: [1, int] }), { type: "b", value: 1 }, /no case/],
  };
  for (const [name, [codec, value, message]] of Object.entries(values)) {
    it(`${name} is the caller's error`, () => {
      assert.throws(
        () => encode(codec, value),
        (error: Error) =>
          (error instanceof RangeError || error instanceof TypeError) && message.test(error.message),
      );
    });
  }

  it("names the argument that is wrong", () => {
    const args = { dom: { name: "a", uuid: "b", id: undefined }, flags: 0 };
    assert.throws(
      () => encode(procedures.domainReset.args, args),
      /^TypeError: dom: uuid: "b" is not a UUID/,
    );
  });

  it("an array of items without bytes cannot even be declared", () => {
    assert.throws(() => array(struct({}), 5), TypeError);
  });
});

describe("layouts as libvirt writes them", () => {
  it("a domain that does not run has the ID -1 on the wire", () => {
    const encoded = encode(domain, { name: "vm", uuid: "6695EB01-f6a4-8304-79aa-97f2502e193f" });
    assert.equal(encoded.toString("hex"), "00000002766d00006695eb01f6a4830479aa97f2502e193fffffffff");
    assert.deepEqual(decodeWhole(domain, encoded), {
      name: "vm",
      uuid: "6695eb01-f6a4-8304-79aa-97f2502e193f",
      id: undefined,
    });
  });

  it("a typed parameter is its name, its type and its value", () => {
    const encoded = encode(typedParam, { field: "abc", value: { type: "uhyper", value: 5n } });
    assert.equal(encoded.toString("hex"), "0000000361626300000000040000000000000005");
  });

  it("a vector of chars has four bytes for each, with a sign or without, and its text ends at the first 0", () => {
    const encoded = encode(charVector(4), "ä");
    assert.deepEqual(encoded, bytes(0xc3, 0xa4, 0, 0));
    assert.equal(decodeWhole(charVector(4), bytes(0xc3 - 256, 0xa4 - 256, 0, 97)), "ä");
    assert.equal(decodeWhole(charVector(2), bytes(97, 98)), "ab");
  });

  it("a name that is not UTF-8 is read with U+FFFD in the odd places", () => {
    const encoded = Buffer.concat([bytes(2), Buffer.from([0x61, 0xff, 0, 0])]);
    assert.equal(decodeWhole(string(9), encoded), "a\uFFFD");
  });
});
