import { readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem, type } from "node:os";
import { run } from "../support/run.ts";

/** What a measurement was made on, as lines: without them its numbers say nothing. */
export function machine(): string[] {
  const [load] = loadavg();
  return [
    `${availableParallelism()} cores (${cpus()[0]?.model ?? "unknown"}), ${Math.round(totalmem() / 2 ** 30)} GiB, ` +
      `${type()} ${release()}, load of the last minute ${load?.toFixed(1)}`,
    `node ${process.versions.node} (V8 ${process.versions.v8})`,
  ];
}

/** The first line that a command prints: its version. */
export async function versionOf(command: string, ...args: string[]): Promise<string> {
  return (await run(command, args)).split("\n")[0] ?? "";
}

/** What a process has used until now. */
export interface Usage {
  /** Time on a processor, of the program and of the kernel for it, in milliseconds. */
  cpuMs: number;
  /** Memory that it holds now, and the most that it ever held, in bytes. */
  residentBytes: number;
  peakBytes: number;
}

/** Linux counts a process's time in hundredths of a second, on every architecture that Node runs on. */
const tickMs = 10;

/** Reads what the kernel says of a process. */
export function usageOf(pid: number): Usage {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name is in parentheses and may hold anything; utime and stime are the fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const bytes = (field: string) =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) * 1024;
  return {
    cpuMs: (Number(fields[11]) + Number(fields[12])) * tickMs,
    residentBytes: bytes("VmRSS"),
    peakBytes: bytes("VmHWM"),
  };
}
