import * as fc from "fast-check";

import type { Codec, Shape } from "../../../src/libvirt/xdr/codec.ts";

/** Values of a codec, derived from its declaration. */
export function arbitraryOf<T>(codec: Codec<T>): fc.Arbitrary<T> {
  return fromShape(codec.shape) as fc.Arbitrary<T>;
}

function fromShape(shape: Shape): fc.Arbitrary<unknown> {
  switch (shape.type) {
    case "int":
      return fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff });
    case "uint":
      return fc.integer({ min: 0, max: 0xffff_ffff });
    case "hyper":
      return fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
    case "uhyper":
      return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    case "double":
      return fc.double();
    case "bool":
      return fc.boolean();
    case "uuid":
      return fc.uint8Array({ minLength: 16, maxLength: 16 }).map(formatUuid);
    case "domainId":
      return fc.option(fc.nat(), { nil: undefined });
    case "string":
      return text(shape.max);
    case "charVector":
      return text(shape.length);
    case "fixedOpaque":
      return fc.uint8Array({ minLength: shape.length, maxLength: shape.length }).map(detach);
    case "opaque":
      return fc.uint8Array({ maxLength: Math.min(shape.max, 100) }).map(detach);
    case "optional":
      return fc.option(fromShape(shape.of), { nil: undefined });
    case "array":
      return fc.array(fromShape(shape.of), { maxLength: Math.min(shape.max, 5) });
    case "struct":
      return fc.record(Object.fromEntries([...shape.fields].map(([name, of]) => [name, fromShape(of)])), {
        noNullPrototype: true,
      });
    case "union":
      return fc.oneof(
        ...[...shape.cases].map(([type, of]) => fromShape(of).map((value) => ({ type, value }))),
      );
    default:
      return shape satisfies never;
  }
}

/** Text of all planes, without U+0000 and half surrogates, which the wire cannot carry. */
function text(max: number): fc.Arbitrary<string> {
  return fc
    .string({ unit: "binary", maxLength: Math.min(max, 40) })
    .map((value) => value.replaceAll("\0", ""))
    .filter((value) => Buffer.byteLength(value) <= max);
}

function formatUuid(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString("hex");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** fast-check's arrays are views; those that are decoded are not. */
function detach(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}
