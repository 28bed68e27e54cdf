import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { WorkQueue, type WorkQueueOptions } from "../../../src/kubernetes/work-queue.ts";
import { ManualClock, turns } from "./manual-clock.ts";

/** A queue whose handler takes as long as the test says, and what it did. */
function worked(
  concurrency: number,
  workMs: (key: string) => number = () => 0,
  options: WorkQueueOptions<string> = {},
) {
  const clock = new ManualClock();
  const queue = new WorkQueue({ clock, ...options });
  const started: string[] = [];
  const stop = new AbortController();
  const finished = queue.run(
    concurrency,
    async (key) => {
      started.push(key);
      const { promise, resolve } = Promise.withResolvers<void>();
      clock.after(workMs(key), resolve);
      await promise;
    },
    stop.signal,
  );
  return { clock, queue, started, stop, finished };
}

test("A key that is added many times before its turn is worked on once", async () => {
  const { queue, clock, started } = worked(1);
  for (let count = 0; count < 5; count += 1) queue.add("a");
  assert.equal(queue.length, 1);
  await clock.advance(100);
  assert.deepEqual(started, ["a"]);
});

test("A key that is added while it is worked on is worked on once more afterwards", async () => {
  const { queue, clock, started } = worked(4, () => 50);
  queue.add("a");
  await clock.advance(10);
  for (let count = 0; count < 5; count += 1) queue.add("a");
  await clock.advance(10);
  assert.deepEqual(started, ["a"], "not while the first worker has it");
  await clock.advance(1000);
  assert.deepEqual(started, ["a", "a"]);
});

test("Adding a key starts no handler before the adder has returned", () => {
  const { queue, started } = worked(1);
  queue.add("a");
  assert.deepEqual(started, []);
});

test("A later delay does not replace an earlier one, and an earlier one replaces a later one", async () => {
  const { queue, clock, started } = worked(1);
  queue.addAfter("a", 100);
  queue.addAfter("a", 500);
  queue.addAfter("b", 500);
  queue.addAfter("b", 100);
  assert.equal(queue.delayed, 2);
  await clock.advance(99);
  assert.deepEqual(started, []);
  await clock.advance(1);
  assert.deepEqual(started, ["a", "b"]);
  await clock.advance(10_000);
  assert.deepEqual(started, ["a", "b"], "the longer delays are gone");
});

test("What is due, and what is added with the high priority, does not wait behind what is about to begin", async () => {
  const { queue, clock, started } = worked(1, () => 10);
  queue.addAfter("due", 5);
  for (const key of ["a", "b", "c", "d"]) queue.add(key);
  await clock.advance(9);
  queue.add("urgent", "High");
  queue.add("d", "High");
  await clock.advance(1000);
  assert.deepEqual(started, ["a", "due", "urgent", "d", "b", "c"], "each once, and those that began first");
  assert.equal(queue.length, 0);
});

test("What is about to begin has its turn after three of the high priority", async () => {
  const { queue, clock, started } = worked(1, () => 10);
  for (const key of ["a", "b"]) queue.add(key);
  for (const key of ["p", "q", "r", "s", "t", "u", "v", "w"]) queue.add(key, "High");
  await clock.advance(1000);
  assert.deepEqual(started, ["p", "q", "r", "a", "s", "t", "u", "b", "v", "w"]);
});

test("Some workers are kept for the high priority", async () => {
  const { queue, clock, started } = worked(4, () => 10, { mostNormal: 2 });
  for (const key of ["a", "b", "c"]) queue.add(key);
  await clock.advance(1);
  assert.deepEqual(started, ["a", "b"]);
  for (const key of ["x", "y", "z"]) queue.add(key, "High");
  await clock.advance(1);
  assert.deepEqual(started, ["a", "b", "x", "y"]);
  await clock.advance(1000);
  assert.deepEqual(started, ["a", "b", "x", "y", "z", "c"]);
});

test("A flood of one flow delays a key of another by one key, in either priority", async () => {
  const options = { flowOf: (key: string) => key.split("/")[0] ?? "" };
  const { queue, clock, started } = worked(1, () => 10, options);
  for (const priority of ["Normal", "High"] as const) {
    for (let count = 0; count < 2000; count += 1) queue.add(`flood/${priority}-${count}`, priority);
    queue.add(`quiet/${priority}`, priority);
  }
  await clock.advance(2000 * 10 * 2 + 100);
  assert.equal(started.indexOf("quiet/High"), 1);
  assert.equal(started.indexOf("quiet/Normal"), 7, "in the second of the turns that the normal ones have");
  assert.equal(started.length, 4002);
});

test("A key that comes forward is not worked on twice, nor by two workers", async () => {
  const { queue, clock, started } = worked(2, () => 10);
  for (const key of ["a", "b", "c"]) queue.add(key);
  queue.add("c", "High");
  queue.add("c");
  assert.equal(queue.length, 3);
  await clock.advance(1);
  assert.deepEqual(started, ["c", "a"]);
  queue.add("c");
  await clock.advance(1000);
  assert.deepEqual(started, ["c", "a", "b", "c"]);
});

test("Ten thousand delayed keys cost one timer", async () => {
  const { queue, clock, started } = worked(8);
  for (let key = 0; key < 10_000; key += 1) queue.addAfter(`vm-${key}`, 10_000 - key);
  assert.equal(clock.timers, 1);
  assert.equal(queue.delayed, 10_000);
  await clock.advance(1);
  assert.deepEqual(started, ["vm-9999"]);
});

test("Rate-limited delays double from 5 ms to the maximum, and begin anew after forget", async () => {
  const clock = new ManualClock();
  const delays: number[] = [];
  const observer = { retried: (_: string, delayMs: number) => delays.push(delayMs) };
  const queue = new WorkQueue({ clock, observer, maxDelayMs: 100 });
  for (let count = 0; count < 7; count += 1) queue.addRateLimited("a");
  assert.deepEqual(delays, [5, 10, 20, 40, 80, 100, 100]);
  assert.equal(queue.failures("a"), 7);
  queue.forget("a");
  queue.addRateLimited("a");
  assert.equal(delays.at(-1), 5);
});

test("A very long row of failures does not make the delay overflow", () => {
  const delays: number[] = [];
  const observer = { retried: (_: string, delayMs: number) => delays.push(delayMs) };
  const queue = new WorkQueue({ clock: new ManualClock(), observer });
  for (let count = 0; count < 2000; count += 1) queue.addRateLimited("a");
  assert.equal(delays.at(-1), 60_000);
});

test("A handler that throws has its error reported and its key tried again", async () => {
  const clock = new ManualClock();
  const errors: unknown[] = [];
  const queue = new WorkQueue<string>({ clock, onError: (_, error) => errors.push(error) });
  let calls = 0;
  const broken = new Error("broken");
  void queue.run(
    1,
    async () => {
      calls += 1;
      if (calls < 3) throw broken;
    },
    new AbortController().signal,
  );
  queue.add("a");
  await clock.advance(1000);
  assert.equal(calls, 3);
  assert.deepEqual(errors, [broken, broken]);
});

test("Stopping waits for the handlers that run, and starts no others", async () => {
  const { queue, clock, started, stop, finished } = worked(1, () => 100);
  queue.add("a");
  queue.add("b");
  queue.addAfter("c", 10);
  await clock.advance(50);
  let ended = false;
  const done = finished.then(() => (ended = true));
  stop.abort();
  await turns();
  assert.equal(ended, false, "a is still being worked on");
  await clock.advance(50);
  await done;
  queue.add("d");
  await clock.advance(1000);
  assert.deepEqual(started, ["a"]);
  assert.equal(clock.timers, 0);
});

test("Stopping an idle queue, or one before it starts, resolves at once", async () => {
  const queue = new WorkQueue();
  await queue.run(1, async () => {}, AbortSignal.abort());
  const { stop, finished } = worked(1);
  stop.abort();
  await finished;
});

test("The observer learns how long a key waited and was worked on", async () => {
  const clock = new ManualClock();
  const seen: unknown[] = [];
  const queue = new WorkQueue<string>({
    clock,
    observer: {
      added: (key) => seen.push(["added", key]),
      started: (key, waitedMs) => seen.push(["started", key, waitedMs]),
      finished: (key, workedMs) => seen.push(["finished", key, workedMs]),
    },
  });
  queue.add("a");
  await clock.advance(30);
  const handler = () => new Promise<void>((resolve) => void clock.after(20, resolve));
  void queue.run(1, handler, new AbortController().signal);
  await clock.advance(100);
  assert.deepEqual(seen, [
    ["added", "a"],
    ["started", "a", 30],
    ["finished", "a", 20],
  ]);
});

const key = fc.constantFrom("a", "b", "c", "d", "e");
const step = fc.oneof(
  fc.record({ type: fc.constant("add" as const), key }),
  fc.record({ type: fc.constant("addAfter" as const), key, ms: fc.integer({ min: 0, max: 300 }) }),
  fc.record({ type: fc.constant("addRateLimited" as const), key }),
  fc.record({ type: fc.constant("advance" as const), ms: fc.integer({ min: 0, max: 100 }) }),
);

test("Whatever is added, each key has one worker at most, and is worked on after its last addition", async () => {
  const property = fc.asyncProperty(
    fc.array(step, { maxLength: 60 }),
    fc.integer({ min: 1, max: 4 }),
    fc.array(fc.integer({ min: 0, max: 80 }), { minLength: 1 }),
    async (steps, concurrency, workMs) => {
      const clock = new ManualClock();
      const queue = new WorkQueue({ clock });
      const working = new Set<string>();
      const startedMs = new Map<string, number>();
      const dueMs = new Map<string, number>();
      let handled = 0;
      const stop = new AbortController();
      const finished = queue.run(
        concurrency,
        async (current) => {
          assert.ok(!working.has(current), `two workers on ${current}`);
          working.add(current);
          assert.ok(working.size <= concurrency, "more workers than allowed");
          startedMs.set(current, clock.now());
          handled += 1;
          const { promise, resolve } = Promise.withResolvers<void>();
          clock.after(workMs[handled % workMs.length] ?? 0, resolve);
          await promise;
          working.delete(current);
        },
        stop.signal,
      );
      let additions = 0;
      for (const each of steps) {
        if (each.type === "advance") {
          await clock.advance(each.ms);
          continue;
        }
        additions += 1;
        // Whatever else was asked for, the key must be worked on no earlier than now.
        dueMs.set(each.key, clock.now());
        if (each.type === "add") queue.add(each.key);
        else if (each.type === "addAfter") queue.addAfter(each.key, each.ms);
        else queue.addRateLimited(each.key);
      }
      await clock.advance(1_000_000);
      for (const [current, atMs] of dueMs) {
        assert.ok((startedMs.get(current) ?? 0) >= atMs, `${current} was lost`);
      }
      assert.ok(handled <= additions, "a key was worked on more often than it was added");
      assert.equal(working.size + queue.length + queue.delayed, 0);
      stop.abort();
      await finished;
    },
  );
  await fc.assert(property, { numRuns: 200 });
});

test("One worker takes keys in the order in which they became ready", async () => {
  const property = fc.asyncProperty(
    fc.array(fc.tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 9 })), { maxLength: 40 }),
    async (additions) => {
      const { clock, queue, started } = worked(1);
      const earliest = new Map<string, { ms: number; position: number }>();
      for (const [position, [ms, number]] of additions.entries()) {
        const name = `vm-${number}`;
        // Strictly positive: an addition without a delay is ready before the timer's.
        queue.addAfter(name, ms + 1);
        const known = earliest.get(name);
        if (known === undefined || ms < known.ms) earliest.set(name, { ms, position });
      }
      await clock.advance(1000);
      const expected = [...earliest].sort(([, a], [, b]) => a.ms - b.ms || a.position - b.position);
      assert.deepEqual(
        started,
        expected.map(([name]) => name),
      );
    },
  );
  await fc.assert(property, { numRuns: 200 });
});
