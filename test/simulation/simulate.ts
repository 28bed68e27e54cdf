/**
 * Runs random histories of one resource, one domain and the controller's real code against the invariants, on all
 * cores, and prints what they went through. Ends with 1 at the first seed that violates an invariant.
 *
 *     npm run simulate -- --histories 1000000 --seed 1
 *     npm run simulate -- --histories 1 --seed 17 --trace
 */
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import type { Batch, BatchReport } from "./batch.ts";
import { Coverage } from "./coverage.ts";
import { happenings, runHistory } from "./history.ts";

const { values } = parseArgs({
  options: {
    histories: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    workers: { type: "string", default: String(availableParallelism()) },
    trace: { type: "boolean", default: false },
  },
});
const histories = wholeNumber("histories");
const firstSeed = wholeNumber("seed");
const workers = wholeNumber("workers");

/** Seeds that a thread is given at a time. */
const batchSize = 500;
/** A history that does not come to rest repeats itself. */
const mostLines = 400;
const progressEveryMs = 10_000;

if (values.trace) await printHistory(firstSeed);
else await simulate();

/** Every line of one history, and what it violates. */
async function printHistory(seed: number): Promise<void> {
  const { violation, lines } = await runHistory(seed, { trace: true });
  for (const line of lines.slice(0, mostLines)) console.log(line);
  if (lines.length > mostLines) console.log(`... and ${lines.length - mostLines} lines more`);
  if (violation === undefined) {
    console.log(`seed ${seed} violates nothing`);
    return;
  }
  console.error(`seed ${seed} violates "${violation.invariant}": ${violation.how}`);
  process.exitCode = 1;
}

async function simulate(): Promise<void> {
  const coverage = new Coverage(happenings);
  const beganAtMs = performance.now();
  let done = 0;
  let toldAtMs = beganAtMs;
  let violatedBy: number | undefined;
  for await (const report of inOrder(batches())) {
    coverage.add(new Coverage(happenings, report.counts));
    done += report.histories;
    ({ violatedBy } = report);
    if (violatedBy !== undefined) break;
    if (performance.now() < toldAtMs + progressEveryMs) continue;
    toldAtMs = performance.now();
    console.error(`${done} of ${histories} histories, ${rate(done, beganAtMs)}`);
  }
  const seconds = ((performance.now() - beganAtMs) / 1000).toFixed(1);
  for (const line of coverage.lines()) console.log(line);
  console.log(`${done} histories in ${seconds} s: ${rate(done, beganAtMs)}`);
  if (violatedBy !== undefined) await printHistory(violatedBy);
}

function rate(done: number, sinceMs: number): string {
  return `${Math.round((done * 1000) / (performance.now() - sinceMs))} a second`;
}

function* batches(): Generator<Batch> {
  for (let done = 0; done < histories; done += batchSize) {
    yield { firstSeed: firstSeed + done, histories: Math.min(batchSize, histories - done) };
  }
}

/**
 * The reports of all batches in the order of their seeds, whichever thread ran them: what is printed is the same
 * for any number of threads.
 */
async function* inOrder(batches: Generator<Batch>): AsyncGenerator<BatchReport> {
  const threads = Array.from({ length: workers }, () => new Worker(new URL("batch.ts", import.meta.url)));
  const idle = [...threads];
  const running: Promise<BatchReport>[] = [];
  const feed = () => {
    for (let thread = idle.pop(); thread !== undefined; thread = idle.pop()) {
      const batch = batches.next();
      if (batch.done === true) return;
      running.push(
        runOn(thread, batch.value).finally(() => {
          idle.push(thread);
          feed();
        }),
      );
    }
  };
  feed();
  try {
    for (let report = running.shift(); report !== undefined; report = running.shift()) yield await report;
  } finally {
    await Promise.all(threads.map((thread) => thread.terminate()));
  }
}

/** Rejects when the thread dies. */
async function runOn(thread: Worker, batch: Batch): Promise<BatchReport> {
  thread.postMessage(batch);
  const [report] = (await once(thread, "message")) as [BatchReport];
  return report;
}

function wholeNumber(option: "histories" | "seed" | "workers"): number {
  const number = Number(values[option]);
  if (!Number.isSafeInteger(number) || number < 1) {
    throw new Error(`--${option} takes a whole number from 1, not ${JSON.stringify(values[option])}`);
  }
  return number;
}
