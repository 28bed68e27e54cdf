import { readdirSync } from "node:fs";
import { usageOf } from "../bench/machine.ts";
import { quantile } from "../bench/numbers.ts";

/** What a process held at a moment. */
export interface Sample {
  /** Since the soak began. */
  atMs: number;
  pid: number;
  residentBytes: number;
  /** Open files, and with them connections. */
  files: number;
}

/** What a process holds goes up and down by a third between two collections. */
const windowMs = 300_000;

/** What a process holds over time. */
export class Memory {
  readonly samples: Sample[] = [];

  /** Looks at the process; one that has just ended holds nothing. */
  sample(pid: number, atMs: number): void {
    try {
      const { residentBytes } = usageOf(pid);
      this.samples.push({ atMs, pid, residentBytes, files: readdirSync(`/proc/${pid}/fd`).length });
    } catch {
      // It has just been killed.
    }
  }

  get last(): Sample | undefined {
    return this.samples.at(-1);
  }

  /** What it held in the five minutes before a moment, as the median; NaN where nobody looked. */
  beforeMs(endMs: number): number {
    const seen = this.samples.filter(({ atMs }) => atMs > endMs - windowMs && atMs <= endMs);
    return quantile(
      seen.map(({ residentBytes }) => residentBytes),
      0.5,
    );
  }
}
