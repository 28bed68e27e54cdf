import assert from "node:assert/strict";
import { test } from "node:test";
import { Problems } from "../../src/problems.ts";

test("a problem is news once, until it is over, which is news once, too", () => {
  const problems = new Problems();
  assert.equal(problems.end("a"), false);
  assert.deepEqual(
    ["refused", "refused", "silent", "refused"].map((problem) => problems.meet("a", problem)),
    [true, false, true, false],
  );
  assert.equal(problems.meet("b", "refused"), true);
  assert.deepEqual([...problems.things()], ["a", "b"]);
  assert.deepEqual([problems.end("a"), problems.end("a")], [true, false]);
  assert.equal(problems.meet("a", "refused"), true);
});
