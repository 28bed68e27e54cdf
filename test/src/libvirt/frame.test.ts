import assert from "node:assert/strict";
import { describe, it } from "node:test";

import * as fc from "fast-check";

import { ProtocolError } from "../../../src/libvirt/errors.ts";
import { FRAME_MAX, FrameSplitter, HEADER_BYTES, encodeFrame } from "../../../src/libvirt/protocol/frame.ts";
import type { Frame } from "../../../src/libvirt/protocol/frame.ts";

const header = { program: 1, version: 2, procedure: 3, type: 4, serial: 5, status: 6 };

function frameOf(payload: Uint8Array, serial = 5): Buffer {
  const head = encodeFrame({ ...header, serial }, () => {});
  const frame = Buffer.concat([head, payload]);
  frame.writeUInt32BE(frame.length, 0);
  return frame;
}

/** Splits chunks, keeping copies: a payload is valid only until the next chunk. */
function split(chunks: readonly Buffer[]): Frame[] {
  const splitter = new FrameSplitter();
  const frames: Frame[] = [];
  for (const chunk of chunks) {
    splitter.split(chunk, (frame) => frames.push({ ...frame, payload: Buffer.from(frame.payload) }));
  }
  return frames;
}

describe("a message", () => {
  it("has its length, the six fields of the header and the payload", () => {
    const frame = encodeFrame(header, (to) => to.uint(7));
    const words = Array.from({ length: 8 }, (_, index) => frame.readUInt32BE(index * 4));
    assert.deepEqual(words, [32, 1, 2, 3, 4, 5, 6, 7]);
    assert.deepEqual(split([frame]), [{ ...header, payload: Buffer.from([0, 0, 0, 7]) }]);
  });

  it("cannot be longer than libvirt accepts", () => {
    const payload = new Uint8Array(FRAME_MAX - HEADER_BYTES + 4);
    assert.throws(() => encodeFrame(header, (to) => to.opaque(payload)), RangeError);
    assert.equal(encodeFrame(header, (to) => to.opaque(payload.subarray(4))).length, FRAME_MAX);
  });
});

describe("splitting a stream into messages", () => {
  const two = Buffer.concat([frameOf(Buffer.from("first"), 1), frameOf(Buffer.from("the second"), 2)]);
  const expected = split([two]);

  it("finds two messages in one chunk", () => {
    assert.deepEqual(
      expected.map(({ serial, payload }) => [serial, payload.toString()]),
      [
        [1, "first"],
        [2, "the second"],
      ],
    );
  });

  it("does not care where the chunk is cut, at whichever byte", () => {
    for (let cut = 0; cut <= two.length; cut++) {
      assert.deepEqual(split([two.subarray(0, cut), two.subarray(cut)]), expected, `cut at ${cut}`);
    }
  });

  it("does not care for chunks of one byte", () => {
    assert.deepEqual(split([...two].map((byte) => Buffer.from([byte]))), expected);
  });

  it("finds any messages in any chunks", () => {
    const payloads = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });
    const cuts = fc.array(fc.nat(2_000), { maxLength: 20 });
    fc.assert(
      fc.property(payloads, cuts, (payloads, cuts) => {
        const stream = Buffer.concat(payloads.map((payload, index) => frameOf(payload, index)));
        const ends = [...cuts.filter((cut) => cut < stream.length), stream.length].sort((a, b) => a - b);
        const chunks = ends.map((end, index) => stream.subarray(ends[index - 1] ?? 0, end));
        assert.deepEqual(
          split(chunks).map(({ serial, payload }) => [serial, payload]),
          payloads.map((payload, index) => [index, Buffer.from(payload)]),
        );
      }),
    );
  });

  it("takes linear time for a long message in short chunks", () => {
    const payload = Buffer.alloc(8 * 1024 * 1024, 7);
    const whole = frameOf(payload);
    const chunks = Array.from({ length: Math.ceil(whole.length / 64) }, (_, index) =>
      whole.subarray(index * 64, index * 64 + 64),
    );
    const startedAtMs = performance.now();
    const [frame] = split(chunks);
    // 131,073 chunks: copying what is there at each of them would move half a terabyte.
    assert.ok(performance.now() - startedAtMs < 5_000);
    assert.equal(frame?.payload.equals(payload), true);
  });
});

describe("a length that no message can have", () => {
  for (const length of [0, 1, HEADER_BYTES - 1, FRAME_MAX + 1, 0xffff_ffff]) {
    const lie = Buffer.alloc(4);
    lie.writeUInt32BE(length);

    it(`${length} is an error as soon as its four bytes are there`, () => {
      assert.throws(() => split([lie]), ProtocolError);
      assert.throws(() => split([lie.subarray(0, 1), lie.subarray(1, 3), lie.subarray(3)]), ProtocolError);
      assert.throws(() => split([Buffer.concat([frameOf(Buffer.alloc(4)), lie])]), ProtocolError);
    });
  }

  it("the longest one that is possible allocates only for the bytes that came", () => {
    const splitter = new FrameSplitter();
    const head = frameOf(Buffer.alloc(0));
    head.writeUInt32BE(FRAME_MAX, 0);
    const before = process.memoryUsage().arrayBuffers;
    splitter.split(head, () => assert.fail("the message is not whole"));
    splitter.split(Buffer.alloc(1_000), () => assert.fail("the message is not whole"));
    assert.ok(process.memoryUsage().arrayBuffers - before < 100_000);
  });

  it("may be set lower", () => {
    const splitter = new FrameSplitter(40);
    splitter.split(frameOf(Buffer.alloc(12)), () => {});
    assert.throws(() => splitter.split(frameOf(Buffer.alloc(16)), () => {}), ProtocolError);
  });

  it("never hangs and never throws anything but a ProtocolError, whatever comes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 10 }), (chunks) => {
        try {
          split(chunks.map((chunk) => Buffer.from(chunk)));
        } catch (error) {
          assert.ok(error instanceof ProtocolError, String(error));
        }
      }),
    );
  });
});
