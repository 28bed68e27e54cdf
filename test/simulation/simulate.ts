/**
 * Runs random histories of one resource, one domain and the controller's real code against the invariants.
 *
 *     npm run simulate -- --histories 100000 --seed 1
 */
import { parseArgs } from "node:util";
import { runHistory } from "./history.ts";

const { values } = parseArgs({
  options: { histories: { type: "string", default: "10000" }, seed: { type: "string", default: "1" } },
});
const histories = Number(values.histories);
const firstSeed = Number(values.seed);
/** A history that does not come to rest repeats itself. */
const mostLines = 400;

const coverage = new Map<string, number>();
const beganAtMs = performance.now();
let done = 0;
for (; done < histories; done += 1) {
  const report = await runHistory(firstSeed + done);
  for (const combination of report.coverage) coverage.set(combination, (coverage.get(combination) ?? 0) + 1);
  if (report.violation !== undefined) {
    console.error(`seed ${report.seed} violates "${report.violation.invariant}": ${report.violation.how}`);
    for (const line of report.lines.slice(0, mostLines)) console.error(line);
    process.exitCode = 1;
    break;
  }
}
const seconds = (performance.now() - beganAtMs) / 1000;
console.log(`${done} histories in ${seconds.toFixed(1)} s: ${Math.round(done / seconds)} a second`);
console.log(`${coverage.size} combinations of domain state, stage and fault`);
