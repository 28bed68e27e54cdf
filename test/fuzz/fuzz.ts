/**
 * Damages what real libvirts and guest agents have said, and the texts that others write, and has the controller's real
 * parsers read it. Prints how fast, what came of it, and what must not have: each with the command that repeats it.
 *
 *     npm run fuzz -- --count 1000000 --seed 1
 *     npm run fuzz -- --count 1000000 --workers 2
 *     npm run fuzz -- --count 1 --seed 4711      one of them again
 *     npm run fuzz -- --count 100000 --only 12   of one message
 *     npm run fuzz -- --record                   makes the messages anew, from a real libvirtd
 */
import { once } from "node:events";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import type { Batch, BatchReport, Failure, ThreadData } from "./batch.ts";
import { record } from "./record.ts";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "1000000" },
    seed: { type: "string", default: "1" },
    workers: { type: "string", default: "1" },
    only: { type: "string" },
    record: { type: "boolean", default: false },
  },
});

/** Seeds that a thread is given at a time. */
const batchSize = 20_000;
/** A batch takes seconds. One that takes so long hangs at the seed that its thread is at. */
const batchTimeoutMs = 300_000;
/** Every parser together needs a tenth of it, however many messages it has seen. */
const heapMegabytes = 256;
const progressEveryMs = 10_000;
const mostFailures = 20;

if (values.record) await record((line) => console.log(line));
else await fuzz();

async function fuzz(): Promise<void> {
  const [count, seed, workers] = [wholeNumber("count"), wholeNumber("seed"), wholeNumber("workers")];
  const outcomes = new Map<string, number>();
  const failures: Failure[] = [];
  const beganAtMs = performance.now();
  let [done, toldAtMs, mostHeapBytes] = [0, beganAtMs, 0];
  const take = (report: BatchReport) => {
    done += report.count;
    for (const [outcome, times] of report.outcomes)
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + times);
    failures.push(...report.failures);
    mostHeapBytes = Math.max(mostHeapBytes, report.heapBytes);
    if (performance.now() < toldAtMs + progressEveryMs) return;
    toldAtMs = performance.now();
    console.error(`${done} of ${count}, ${rate(done, beganAtMs)}, ${failures.length} failures`);
  };
  const batches = split(seed, count);
  await Promise.all(Array.from({ length: workers }, () => runThread(batches, take)));
  for (const [outcome, times] of [...outcomes].sort(([, one], [, other]) => other - one))
    console.log(`${String(times).padStart(10)}  ${outcome}`);
  const seconds = ((performance.now() - beganAtMs) / 1000).toFixed(1);
  // What a machine makes that others use, too, says little of how long it takes.
  const perProcessor = Math.round(done / (process.cpuUsage().user / 1e6));
  console.log(
    `${done} damaged from seed ${seed} on in ${seconds} s, at most ${Math.round(mostHeapBytes / 1e6)} MB of heap:`,
  );
  console.log(`${rate(done, beganAtMs)}, ${perProcessor} a second of a processor's time`);
  tell(failures);
}

function tell(failures: readonly Failure[]): void {
  if (failures.length === 0) {
    console.log("none of them did what it must not");
    return;
  }
  for (const { seed, how } of failures.slice(0, mostFailures)) {
    const only = values.only === undefined ? "" : ` --only ${values.only}`;
    console.error(`seed ${seed}: ${how}\n  again: npm run fuzz -- --count 1 --seed ${seed}${only}`);
  }
  console.error(`${failures.length} did what they must not`);
  process.exitCode = 1;
}

function* split(firstSeed: number, count: number): Generator<Batch> {
  for (let done = 0; done < count; done += batchSize) {
    yield { firstSeed: firstSeed + done, count: Math.min(batchSize, count - done) };
  }
}

/** Runs batches on a thread until there are no more. Where one hangs or dies, the rest of its batch goes to another. */
async function runThread(batches: Iterable<Batch>, take: (report: BatchReport) => void): Promise<void> {
  const at = new Int32Array(new SharedArrayBuffer(4));
  const workerData: ThreadData = { only: values.only === undefined ? undefined : Number(values.only), at };
  const start = () =>
    new Worker(new URL("batch.ts", import.meta.url), {
      workerData,
      resourceLimits: { maxOldGenerationSizeMb: heapMegabytes },
    });
  let thread = start();
  for (const batch of batches) {
    let rest = batch;
    while (rest.count > 0) {
      const report = await runOn(thread, rest, at);
      take(report);
      rest = { firstSeed: rest.firstSeed + report.count, count: rest.count - report.count };
      if (rest.count === 0) break;
      await thread.terminate();
      thread = start();
    }
  }
  await thread.terminate();
}

/** What the batch came to, up to the seed at which it hung or at which the thread died. */
async function runOn(thread: Worker, batch: Batch, at: Int32Array): Promise<BatchReport> {
  Atomics.store(at, 0, batch.firstSeed);
  thread.postMessage(batch);
  try {
    const [report] = (await once(thread, "message", { signal: AbortSignal.timeout(batchTimeoutMs) })) as [
      BatchReport,
    ];
    return report;
  } catch (error) {
    const seed = Atomics.load(at, 0);
    const how =
      error instanceof Error && error.name === "AbortError"
        ? "it hangs"
        : `the thread died: ${String(error)}`;
    return {
      ...batch,
      count: seed - batch.firstSeed + 1,
      outcomes: new Map(),
      failures: [{ seed, how }],
      heapBytes: 0,
    };
  }
}

function rate(done: number, sinceMs: number): string {
  return `${Math.round((done * 1000) / (performance.now() - sinceMs))} a second`;
}

function wholeNumber(option: "count" | "seed" | "workers"): number {
  const number = Number(values[option]);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new Error(`--${option} takes a whole number from 1, not ${JSON.stringify(values[option])}`);
  return number;
}
