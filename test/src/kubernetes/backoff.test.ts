import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../../../src/kubernetes/backoff.ts";

test("Delays double up to the maximum and begin anew after a success", () => {
  const backoff = new Backoff({ baseMs: 200, maxMs: 1000, random: () => 0 });
  assert.deepEqual([backoff.next(), backoff.next(), backoff.next(), backoff.next()], [200, 400, 800, 1000]);
  backoff.reset();
  assert.equal(backoff.next(), 200);
});

test("Up to half of a delay is left to chance", () => {
  const backoff = new Backoff({ baseMs: 200, maxMs: 200, random: () => 0.999 });
  const delayMs = backoff.next();
  assert.ok(delayMs >= 100 && delayMs < 101, String(delayMs));
});
