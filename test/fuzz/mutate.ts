import { FRAME_MAX } from "../../src/libvirt/protocol/frame.ts";
import type { Random } from "../simulation/random.ts";
import { allBounds } from "./protocol.ts";

/** What is made of a message. `others` are those that it can be spliced with. */
type Mutation = (bytes: Buffer, random: Random, others: readonly Buffer[]) => Buffer;

/** Nothing grows beyond this: the bounds of lengths are tried by what claims to be long. */
const longest = 65_536;

/** Damages a message in one or a few ways. The original stays as it is. */
export function mutate(original: Buffer, random: Random, others: readonly Buffer[]): Buffer {
  let bytes = Buffer.from(original);
  do {
    const mutation = random.pick(mutations);
    bytes = Buffer.from(mutation(bytes, random, others).subarray(0, longest));
  } while (random.chance(0.4));
  return bytes;
}

/** Writes a message's own length into it, so that what else is wrong with it is found. */
export function withTrueLength(message: Buffer): Buffer {
  if (message.length >= 4) message.writeUInt32BE(message.length, 0);
  return message;
}

const flipBit: Mutation = (bytes, random) => {
  const at = random.below(bytes.length);
  if (bytes.length > 0) bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
  return bytes;
};

const setByte: Mutation = (bytes, random) => {
  const value = random.chance(0.5) ? random.pick([0, 1, 0x7f, 0x80, 0xc0, 0xff]) : random.below(256);
  if (bytes.length > 0) bytes[random.below(bytes.length)] = value;
  return bytes;
};

/** Lengths, counts, flags and numbers are all words at multiples of four. */
const setWord: Mutation = (bytes, random) => {
  const words = Math.floor(bytes.length / 4);
  if (words === 0) return bytes;
  const at = random.below(words) * 4;
  bytes.writeUInt32BE(word(random, bytes.length - at - 4), at);
  return bytes;
};

const truncate: Mutation = (bytes, random) => bytes.subarray(0, random.below(bytes.length + 1));

const repeat: Mutation = (bytes, random) => {
  const [start, end] = range(bytes, random);
  const times = random.chance(0.8) ? 1 : random.below(200);
  const piece = bytes.subarray(start, end);
  return Buffer.concat([
    bytes.subarray(0, end),
    ...Array.from({ length: times }, () => piece),
    bytes.subarray(end),
  ]);
};

const remove: Mutation = (bytes, random) => {
  const [start, end] = range(bytes, random);
  return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
};

/** The beginning of one and the end of another, or a piece of another in the place of one's own. */
const splice: Mutation = (bytes, random, others) => {
  const other = others[random.below(others.length)] ?? bytes;
  const [start, end] = range(bytes, random);
  const [from, to] = range(other, random);
  return Buffer.concat([bytes.subarray(0, start), other.subarray(from, to), bytes.subarray(end)]);
};

const insert: Mutation = (bytes, random) => {
  const at = place(bytes, random);
  const length = random.chance(0.7) ? 4 * (1 + random.below(4)) : random.below(64);
  const inserted = Buffer.from(Array.from({ length }, () => random.below(256)));
  return Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at)]);
};

const mutations = [
  flipBit,
  setByte,
  setWord,
  // Most of what can go wrong begins with a length that lies.
  setWord,
  setWord,
  truncate,
  repeat,
  remove,
  splice,
  insert,
] as const;

function word(random: Random, left: number): number {
  const bound = random.chance(0.5) ? left : (allBounds[random.below(allBounds.length)] ?? 0);
  return random.pick([
    0,
    1,
    2,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    FRAME_MAX,
    FRAME_MAX + 1,
    bound,
    bound + 1,
    Math.max(bound - 1, 0),
  ]);
}

/** Mostly whole words, as all values are. */
function place(bytes: Buffer, random: Random): number {
  const at = random.below(bytes.length + 1);
  return random.chance(0.8) ? at - (at % 4) : at;
}

function range(bytes: Buffer, random: Random): [start: number, end: number] {
  const [one, other] = [place(bytes, random), place(bytes, random)];
  return one < other ? [one, other] : [other, one];
}
