import type { XdrReader } from "./reader.ts";
import type { XdrWriter } from "./writer.ts";

/**
 * How a value of type T looks on the wire, declared once: the type, both directions and the bounds follow.
 *
 * `decode` throws ProtocolError for bytes that are not such a value, before it allocates for them.
 * `encode` throws TypeError or RangeError for a value that the wire cannot carry: a fault of the caller.
 */
export interface Codec<T> {
  /** The declaration as data, so that tests can derive values from it. */
  readonly shape: Shape;
  /** The fewest bytes that a value takes, so that a count can be checked before anything is allocated. */
  readonly leastBytes: number;
  decode(from: XdrReader): T;
  encode(to: XdrWriter, value: T): void;
}

/** The type of the values of a codec: `type Domain = Infer<typeof domain>`. */
export type Infer<C> = C extends Codec<infer T> ? T : never;

/** A codec's declaration as data. */
export type Shape =
  | { readonly type: "int" | "uint" | "hyper" | "uhyper" | "double" | "bool" | "uuid" | "domainId" }
  | { readonly type: "string"; readonly max: number }
  | { readonly type: "fixedOpaque" | "charVector"; readonly length: number }
  | { readonly type: "opaque"; readonly max: number }
  | { readonly type: "optional"; readonly of: Shape }
  | { readonly type: "array"; readonly of: Shape; readonly max: number }
  | { readonly type: "struct"; readonly fields: ReadonlyMap<string, Shape> }
  | { readonly type: "union"; readonly cases: ReadonlyMap<string, Shape> };
