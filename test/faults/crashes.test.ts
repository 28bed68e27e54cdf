import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Matrix, type Job } from "./matrix.ts";
import { paths } from "./paths.ts";
import { chosenPassages, sampled } from "./points.ts";
import { commandOf } from "./table.ts";

/** Those that cost no time but that of the processes. */
const quick = ["soft", "hard", "start", "repair", "define"];
const casesOfPath = 5;
const seed = Number(process.env["WARMBOOT_FAULTS_SEED"] ?? 1);
/** Within 2 s where nobody else needs the processor; the matrix prints the worst. */
const startWithinMs = 5000;

let matrix: Matrix;
before(async () => {
  matrix = await Matrix.start(2);
});
after(() => matrix[Symbol.asyncDispose]());

test("whichever point the controller dies at, the next one loses no request, restarts nothing twice and leaves no guest off", async (t) => {
  t.diagnostic(`WARMBOOT_FAULTS_SEED=${seed}`);
  const chosen = paths.filter(({ name }) => quick.includes(name));
  const listings = await matrix.perform(chosen.map((path) => ({ path })));
  const jobs = listings.flatMap(({ path, outcome }): Job[] => {
    const passages = sampled(chosenPassages(outcome.passages), casesOfPath, seed);
    return passages.map((passage) => ({
      path,
      blow: { passage, injection: { name: "kill", verb: "kill" } },
    }));
  });
  const results = await matrix.perform(jobs);
  assert.equal(results.length, quick.length * casesOfPath);
  const wrong = [...listings, ...results].flatMap((result) =>
    result.outcome.faults.map(([fault, why]) => `${commandOf(result)}\n${fault}: ${why}`),
  );
  assert.deepEqual(wrong, []);
  // How often a thing is asked may differ from run to run; what was hardly ever reached has shown nothing.
  const struck = results.filter(({ outcome }) => outcome.struck);
  assert.ok(
    struck.length >= 0.8 * results.length,
    `only ${struck.length} of ${results.length} points were reached`,
  );
  const late = results.filter(({ outcome }) => (outcome.startDelayMs ?? 0) > startWithinMs);
  assert.deepEqual(late.map(commandOf), []);
});
