/** One of the threads of a fuzzing run: runs the batches of seeds that it is sent. */
import { inspect } from "node:util";
import { parentPort, workerData } from "node:worker_threads";
import { Fuzzer } from "./fuzzer.ts";

/** What a thread is started with. */
export interface ThreadData {
  only: number | undefined;
  /** The first of its numbers is the seed that the thread is at, for whoever finds it dead or hanging. */
  at: Int32Array;
}

/** Seeds that follow each other. */
export interface Batch {
  firstSeed: number;
  count: number;
}

/** Something that must not be. */
export interface Failure {
  seed: number;
  how: string;
}

/** What a batch came to. */
export interface BatchReport extends Batch {
  outcomes: Map<string, number>;
  failures: Failure[];
  /** Memory of the thread when the batch has ended. */
  heapBytes: number;
}

const port = parentPort;
if (port !== null) {
  const { only, at } = workerData as ThreadData;
  // Millions of refusals would spend most of their time on where they come from. One seed alone tells it.
  Error.stackTraceLimit = 0;
  const escaped: Failure[] = [];
  process.on("uncaughtException", (error) =>
    escaped.push({ seed: Atomics.load(at, 0), how: `uncaught: ${told(error)}` }),
  );
  const fuzzer = await Fuzzer.start(only);
  port.on(
    "message",
    (batch: Batch) => void runBatch(fuzzer, batch, at, escaped).then((report) => port.postMessage(report)),
  );
}

/** What an assertion compares may be as long as what was damaged. */
function told(error: unknown): string {
  return inspect(error).slice(0, 2000);
}

async function runBatch(
  fuzzer: Fuzzer,
  { firstSeed, count }: Batch,
  at: Int32Array,
  escaped: Failure[],
): Promise<BatchReport> {
  const outcomes = new Map<string, number>();
  const failures: Failure[] = [];
  if (count === 1) Error.stackTraceLimit = 20;
  for (let seed = firstSeed; seed < firstSeed + count; seed += 1) {
    Atomics.store(at, 0, seed);
    try {
      const ran = fuzzer.run(seed);
      const outcome = typeof ran === "string" ? ran : await ran;
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    } catch (error) {
      failures.push({ seed, how: told(error) });
    }
  }
  failures.push(...escaped.splice(0));
  return { firstSeed, count, outcomes, failures, heapBytes: process.memoryUsage().heapUsed };
}
