import assert from "node:assert/strict";
import { test } from "node:test";
import { shortened } from "../../crds/shortened.ts";

test("a text that is cut within a character is still one that the API server gives back as it was", () => {
  assert.equal(shortened("ab🚀", 4), "ab🚀");
  assert.equal(shortened("ab🚀", 3), "ab\uFFFD");
  assert.equal(shortened("ab🚀", 2), "ab");
});
