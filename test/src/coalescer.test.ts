import assert from "node:assert/strict";
import { test } from "node:test";
import { Coalescer } from "../../src/coalescer.ts";
import { ManualClock } from "./kubernetes/manual-clock.ts";

/** A coalescer of 100 ms, and the times at which it ran. */
function coalescing(onRun: (coalescer: Coalescer) => void = () => {}) {
  const clock = new ManualClock();
  const beganMs = clock.now();
  const ranAtMs: number[] = [];
  const run = () => {
    ranAtMs.push(clock.now() - beganMs);
    onRun(coalescer);
  };
  const coalescer = new Coalescer(run, 100, clock);
  return { clock, coalescer, ranAtMs };
}

test("a burst is served by one run, after its first ask", async () => {
  const { clock, coalescer, ranAtMs } = coalescing();
  for (let ask = 0; ask < 9; ask += 1) {
    coalescer.ask();
    await clock.advance(10);
  }
  assert.deepEqual(ranAtMs, []);
  await clock.advance(1000);
  assert.deepEqual(ranAtMs, [100]);
  assert.equal(clock.timers, 0, "nothing goes on while nobody asks");
});

test("a burst that does not end is served every 100 ms", async () => {
  const { clock, coalescer, ranAtMs } = coalescing();
  for (let ask = 0; ask < 50; ask += 1) {
    coalescer.ask();
    await clock.advance(10);
  }
  assert.deepEqual(ranAtMs, [100, 200, 300, 400, 500]);
});

test("what asks during a run is served by the next one", async () => {
  const { clock, coalescer, ranAtMs } = coalescing((itself) => {
    if (ranAtMs.length === 1) itself.ask();
  });
  coalescer.ask();
  await clock.advance(1000);
  assert.deepEqual(ranAtMs, [100, 200]);
});

test("what was asked for is forgotten when it is closed", async () => {
  const { clock, coalescer, ranAtMs } = coalescing();
  coalescer.ask();
  coalescer.close();
  await clock.advance(1000);
  assert.deepEqual(ranAtMs, []);
});
