import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { injectionNamed, type Injection } from "./injection.ts";
import { Matrix, type Job, type Result } from "./matrix.ts";
import { paths } from "./paths.ts";
import { chosenPassages, sampled, standstillPassages, type Passage } from "./points.ts";
import { commandOf } from "./table.ts";

const seed = Number(process.env["WARMBOOT_FAULTS_SEED"] ?? 1);
/** A case on libvirt's test driver costs no time but that of the processes; guests boot. */
const killsOfPath = { test: 5, qemu: 3 } as const;
/** On how many paths a process that stands still is tried, once each; for so long that libvirt ends its connection. */
const stops = 3;
/** Within 2 s where nobody else needs the processor; the matrix prints the worst. */
const startWithinMs = 5000;

let matrix: Matrix;
before(async () => {
  matrix = await Matrix.start(3);
});
after(() => matrix[Symbol.asyncDispose]());

test("whichever point the controller dies or stands still at, no request is lost, nothing restarts twice and no guest is left off", async (t) => {
  t.diagnostic(`WARMBOOT_FAULTS_SEED=${seed}`);
  const listings = await matrix.perform(paths.map((path) => ({ path })));
  const kills = listings.flatMap((listing) =>
    jobsAt(listing, chosenPassages, killsOfPath[listing.path.driver], injectionNamed("kill")),
  );
  const standstills = sampled(listings, stops, seed).flatMap((listing) =>
    jobsAt(listing, standstillPassages, 1, injectionNamed("stop-20")),
  );
  // The longest first.
  const results = await matrix.perform([...standstills, ...kills]);
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

/** A sample of the points of a path, at each of which the same happens. */
function jobsAt(
  { path, outcome }: Result,
  choose: (passages: Result["outcome"]["passages"]) => readonly Passage[],
  count: number,
  injection: Injection,
): Job[] {
  const passages = sampled(choose(outcome.passages), count, seed);
  assert.equal(passages.length, count, `${path.name} has too few points`);
  return passages.map((passage) => ({ path, blow: { passage, injection } }));
}
