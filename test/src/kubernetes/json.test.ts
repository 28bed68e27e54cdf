import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { test } from "node:test";
import * as fc from "fast-check";
import { isSameJson } from "../../../src/kubernetes/json.ts";

/** Small enough that two of them are often the same. */
const value = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom(undefined, null, true, 0, 1, "", "a"),
    fc.array(tie("value"), { maxLength: 2 }),
    fc.dictionary(fc.constantFrom("a", "b"), tie("value"), { maxKeys: 2 }),
  ),
})).value;

/** As the API server would have it. */
function asJson(one: unknown): unknown {
  const text = JSON.stringify({ one: withoutHoles(one) });
  return JSON.parse(text);
}

/** In an array JSON has null for undefined; no status has an array with either. */
function withoutHoles(one: unknown): unknown {
  if (Array.isArray(one)) return one.filter((item) => item !== undefined).map(withoutHoles);
  if (typeof one !== "object" || one === null) return one;
  return Object.fromEntries(Object.entries(one).map(([name, field]) => [name, withoutHoles(field)]));
}

test("two values are the same where their JSON is, whatever the order of the fields", () => {
  fc.assert(
    fc.property(value, value, (one, other) => {
      const [left, right] = [withoutHoles(one), withoutHoles(other)];
      assert.equal(isSameJson(left, right), isDeepStrictEqual(asJson(left), asJson(right)));
      assert.equal(isSameJson(left, asJson({ left })), false);
    }),
    { numRuns: 2000 },
  );
});
