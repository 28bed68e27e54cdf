import assert from "node:assert/strict";
import { ProtocolError, type Codec } from "libvirt";
import { FrameSplitter, type Frame } from "../../src/libvirt/protocol/frame.ts";
import { decodeWhole } from "../../src/libvirt/xdr/decode.ts";
import type { Random } from "../simulation/random.ts";
import { mutate, withTrueLength } from "./mutate.ts";
import { refusal } from "./outcome.ts";
import { allCodecs, codecOf } from "./protocol.ts";
import { frameOf } from "./traffic.ts";
import { weigh } from "./weigh.ts";

/** What the client's README says of values: so many times the length of their message, and what an empty one takes. */
const mostTimesTheLength = 17;
const emptyBytes = 1024;

/**
 * Damages one message, cuts it into chunks, and has it split and decoded. Answers what came of it; throws where anything
 * but a ProtocolError comes out, or more memory is taken than the README says.
 */
export function runWire(original: Buffer, random: Random, others: readonly Buffer[]): string {
  const damaged = mutate(original, random, others);
  const message = random.chance(0.8) ? withTrueLength(damaged) : damaged;
  const follower = random.chance(0.2) ? (others[random.below(others.length)] ?? message) : Buffer.alloc(0);
  const stream = Buffer.concat([message, follower]);
  const intended = codecOf(frameOf(original));
  let outcome = "message: never whole";
  try {
    const splitter = new FrameSplitter();
    for (const chunk of chunks(stream, random)) {
      splitter.split(chunk, (frame) => {
        outcome = decode(frame, intended, random);
      });
    }
  } catch (error) {
    outcome = refusal("message", error, ProtocolError);
  }
  return outcome;
}

/** Decodes a message as what it says that it is, as what it was, and as anything. */
function decode(frame: Frame, intended: Codec<unknown> | undefined, random: Random): string {
  const said = codecOf(frame) ?? intended;
  const others = [intended, allCodecs[random.below(allCodecs.length)]];
  for (const codec of others) if (codec !== undefined && codec !== said) decodeAs(codec, frame.payload);
  return said === undefined ? "message: nobody's" : decodeAs(said, frame.payload);
}

function decodeAs(codec: Codec<unknown>, payload: Buffer): string {
  let value: unknown;
  try {
    value = decodeWhole(codec, payload);
  } catch (error) {
    return refusal("message", error, ProtocolError);
  }
  const bytes = weigh(value);
  const most = mostTimesTheLength * payload.length + emptyBytes;
  assert.ok(bytes <= most, `the values of a payload of ${payload.length} bytes take ${bytes}`);
  return "message: decoded";
}

/** Pieces of a stream, cut anywhere. */
export function chunks(stream: Buffer, random: Random): Buffer[] {
  const cuts = Array.from({ length: random.below(4) }, () => random.below(stream.length + 1)).sort(
    (a, b) => a - b,
  );
  return [...cuts, stream.length].map((end, index) => stream.subarray(cuts[index - 1] ?? 0, end));
}
