/**
 * Runs every test on the real parts: unit, property, integration and end-to-end. What they run on is set up
 * first, once, so that no test's time is that of an installation.
 *
 *     node test/run.ts [file or pattern ...]
 */
import { spawn } from "node:child_process";
import { everyPart, setUp } from "./support/setup.ts";

const patterns = process.argv.slice(2);
await setUp(everyPart, (line) => console.log(line));
const tests = spawn(
  process.execPath,
  // A test that waits for what never comes fails instead of holding up all others.
  ["--test", "--test-timeout=600000", ...(patterns.length > 0 ? patterns : ["test/**/*.test.ts"])],
  { stdio: "inherit" },
);
tests.on("exit", (code, signal) => {
  process.exitCode = code ?? 1;
  if (signal !== null) console.error(`the tests were ended by ${signal}`);
});
