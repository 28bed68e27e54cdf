/**
 * Runs every test on the real parts: unit, property, integration and end-to-end. What they run on is set up
 * first, once, so that no test's time is that of an installation.
 *
 *     node test/run.ts [file or pattern ...]
 */
import { spawn, type ChildProcess } from "node:child_process";
import { atExit } from "./support/at-exit.ts";
import { onInterruption } from "./support/interruption.ts";
import { setUp } from "./support/setup.ts";

let tests: ChildProcess | undefined;
let interrupted: number | undefined;
onInterruption((exitCode, signal) => {
  interrupted = exitCode;
  if (tests === undefined) process.exit(exitCode);
  signalTests(signal);
});

const patterns = process.argv.slice(2);
await setUp((line) => console.log(line)).catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
});
tests = spawn(
  process.execPath,
  // A test that waits for what never comes fails instead of holding up all others.
  ["--test", "--test-timeout=600000", ...(patterns.length > 0 ? patterns : ["test/**/*.test.ts"])],
  // In a process group of their own: Node's runner would leave the files that it runs behind.
  { stdio: ["ignore", "inherit", "inherit"], detached: true },
);
atExit(() => signalTests("SIGKILL"));
tests.on("exit", (code, signal) => {
  if (signal !== null && interrupted === undefined) console.error(`the tests were ended by ${signal}`);
  process.exit(interrupted ?? code ?? 1);
});

function signalTests(signal: NodeJS.Signals): void {
  try {
    if (tests?.pid !== undefined) process.kill(-tests.pid, signal);
  } catch {
    // Nobody is left.
  }
}
