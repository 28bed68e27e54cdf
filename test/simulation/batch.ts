/** One of the threads of a simulation: runs the batches of seeds that it is sent. */
import { parentPort } from "node:worker_threads";
import { Coverage } from "./coverage.ts";
import { happenings, runHistory } from "./history.ts";

/** Seeds that follow each other. */
export interface Batch {
  firstSeed: number;
  histories: number;
}

/** What a batch came to. */
export interface BatchReport extends Batch {
  /** The histories that were run: all, or those up to the first violation. */
  histories: number;
  /** The counts of a Coverage. */
  counts: Float64Array;
  /** The seed whose history violates an invariant. */
  violatedBy: number | undefined;
}

parentPort?.on(
  "message",
  (batch: Batch) => void runBatch(batch).then((report) => parentPort?.postMessage(report)),
);

async function runBatch({ firstSeed, histories }: Batch): Promise<BatchReport> {
  const coverage = new Coverage(happenings);
  for (let done = 0; done < histories; done += 1) {
    const { seed, violation } = await runHistory(firstSeed + done, { coverage });
    if (violation === undefined) continue;
    return { firstSeed, histories: done + 1, counts: coverage.counts, violatedBy: seed };
  }
  return { firstSeed, histories, counts: coverage.counts, violatedBy: undefined };
}
