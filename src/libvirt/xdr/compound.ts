import { ProtocolError } from "../errors.ts";
import type { Codec, Infer } from "./codec.ts";
import { checkLength } from "./primitives.ts";

/** XDR optional data: a flag, and the value when the flag is 1. */
export function optional<T>(of: Codec<T>): Codec<T | undefined> {
  return {
    shape: { type: "optional", of: of.shape },
    leastBytes: 4,
    decode: (from) => {
      const flag = from.uint();
      if (flag > 1) {
        throw new ProtocolError(`${flag} is neither 0 nor 1 at byte ${from.offset - 4}`);
      }
      return flag === 1 ? of.decode(from) : undefined;
    },
    encode: (to, value) => {
      to.uint(value === undefined ? 0 : 1);
      if (value !== undefined) {
        of.encode(to, value);
      }
    },
  };
}

/** XDR array of at most `max` items. */
export function array<T>(of: Codec<T>, max: number): Codec<readonly T[]> {
  if (of.leastBytes === 0) {
    // A count of items without bytes could not be checked against the bytes that are left.
    throw new TypeError("an item of an array must take at least one byte");
  }
  return {
    shape: { type: "array", of: of.shape, max },
    leastBytes: 4,
    decode: (from) => {
      const count = from.length(max, of.leastBytes);
      const items: T[] = [];
      for (let index = 0; index < count; index++) {
        items.push(of.decode(from));
      }
      return items;
    },
    encode: (to, value) => {
      checkLength(value.length, max, "items");
      to.uint(value.length);
      for (const item of value) {
        of.encode(to, item);
      }
    },
  };
}

/** The fields of a struct, in the order of the wire. */
export type Fields = Readonly<Record<string, Codec<unknown>>>;

/** The type of a struct: a field whose codec is optional may be left out. */
export type StructOf<F extends Fields> = Flatten<
  { readonly [K in keyof F as undefined extends Infer<F[K]> ? never : K]: Infer<F[K]> } & {
    readonly [K in keyof F as undefined extends Infer<F[K]> ? K : never]?: Infer<F[K]>;
  }
>;

type Flatten<T> = { [K in keyof T]: T[K] };

/** XDR struct: its fields one after another. */
export function struct<F extends Fields>(fields: F): Codec<StructOf<F>> {
  const entries = Object.entries(fields);
  return {
    shape: { type: "struct", fields: new Map(entries.map(([name, codec]) => [name, codec.shape])) },
    leastBytes: entries.reduce((sum, [, codec]) => sum + codec.leastBytes, 0),
    decode: (from) => {
      const value: Record<string, unknown> = {};
      for (const [name, codec] of entries) {
        value[name] = codec.decode(from);
      }
      return value as StructOf<F>;
    },
    encode: (to, value) => {
      const values: Readonly<Record<string, unknown>> = value;
      let current = "";
      try {
        for (const [name, codec] of entries) {
          current = name;
          codec.encode(to, values[name]);
        }
      } catch (cause) {
        throw atField(current, cause);
      }
    },
  };
}

/** The cases of a union: a name for the program, the number on the wire, and the codec of the value. */
export type Cases = Readonly<Record<string, readonly [number: number, of: Codec<unknown>]>>;

/** The type of a union: its case by name, and the value. */
export type UnionOf<C extends Cases> = {
  [K in keyof C & string]: { readonly type: K; readonly value: Infer<C[K][1]> };
}[keyof C & string];

/** XDR union that is told apart by an int. A number that no case has is an error: its length is unknown. */
export function union<const C extends Cases>(cases: C): Codec<UnionOf<C>> {
  const entries = Object.entries(cases);
  const byName = new Map(entries);
  const byNumber = new Map(entries.map(([name, [number, of]]) => [number, { name, of }]));
  return {
    shape: { type: "union", cases: new Map(entries.map(([name, [, of]]) => [name, of.shape])) },
    leastBytes: 4 + Math.min(...entries.map(([, [, of]]) => of.leastBytes)),
    decode: (from) => {
      const number = from.int();
      const found = byNumber.get(number);
      if (found === undefined) {
        throw new ProtocolError(`${number} is no case of the union at byte ${from.offset - 4}`);
      }
      return { type: found.name, value: found.of.decode(from) } as UnionOf<C>;
    },
    encode: (to, { type, value }) => {
      const found = byName.get(type);
      if (found === undefined) {
        throw new TypeError(`"${type}" is no case of the union; there are ${[...byName.keys()].join(", ")}`);
      }
      to.int(found[0]);
      found[1].encode(to, value);
    },
  };
}

/** Names the field in the message of an error: "dom: uuid: ..." says where among the arguments it is. */
function atField(name: string, cause: unknown): unknown {
  if (cause instanceof RangeError || cause instanceof TypeError) {
    cause.message = `${name}: ${cause.message}`;
  }
  return cause;
}
