/**
 * Plants defects into a copy of the controller, one at a time, and shows that random histories find each: a
 * simulation that cannot fail proves nothing.
 *
 *     npm run mutate -- --histories 20000
 */
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { run } from "../support/run.ts";

interface Mutation {
  /** What the controller no longer does, or does wrong. */
  defect: string;
  file: string;
  find: string;
  replace: string;
}

const mutations: readonly Mutation[] = [
  {
    defect: "an attempt's name can be computed, so that a stale pass marks the new boot with the old name",
    file: "controller/current-attempt.ts",
    find: "return beginAttempt(nonce,",
    replace: 'return beginAttempt("0".repeat(32),',
  },
  {
    defect: "the running boot's reboot action is not put back when the attempt fails",
    file: "controller/attempt-rules.ts",
    find: "attempt.touched && !attempt.released && domain.id !== undefined",
    replace: "false",
  },
  {
    defect: "whatever is off is started, also what is saved or migrated away",
    file: "controller/obstacle.ts",
    find: "if (id !== undefined) return undefined;",
    replace: "if (id !== undefined || reason.length > 0) return undefined;",
  },
  {
    defect: "the domain's own record is not believed: a restored or lost status repeats a request",
    file: "controller/current-attempt.ts",
    find: "if (tellsOfUnended(mark, virtualMachine))",
    replace: "if (false as boolean && tellsOfUnended(mark, virtualMachine))",
  },
  {
    defect: "the marks are read only when something is requested: a start that is owed is forgotten",
    file: "controller/reconcile.ts",
    find: "return isNews || isAsked",
    replace: "return isAsked",
  },
  {
    defect: "a guest that obeys after its attempt has failed is left off",
    file: "controller/current-attempt.ts",
    find: "return stoppedLate(virtualMachine, domain.domain, mark, now.epochMs) ? adopted : undefined;",
    replace: "return undefined;",
  },
  {
    defect: "a domain that is undefined under its guest is destroyed",
    file: "controller/marked-rules.ts",
    find: "  undefinedMeanwhile,\n  markLost,\n",
    replace: "",
  },
  {
    defect: "the signal is sent without marks",
    file: "controller/current-attempt.ts",
    find: "return beginAttempt(nonce, trigger.request, trigger.request.mode ?? policy.mode, now);",
    replace:
      "return { ...beginAttempt(nonce, trigger.request, trigger.request.mode ?? policy.mode, now), marked: true };",
  },
  {
    defect: "contradictory marks are taken for the old boot",
    file: "controller/boot.ts",
    find: 'if (marks.bootMark === isNew) return "Unknown";',
    replace: 'if (marks.bootMark === isNew) return "Old";',
  },
  {
    defect: "contradictory marks are taken for the new boot",
    file: "controller/boot.ts",
    find: 'if (marks.bootMark === isNew) return "Unknown";',
    replace: 'if (marks.bootMark === isNew) return "New";',
  },
  {
    defect: "a running domain is taken for the new boot: the domain ID would do",
    file: "controller/boot.ts",
    find: 'return isNew ? "New" : "Old";',
    replace: 'return isNew || attempt.domainId !== domain.id ? "New" : "Old";',
  },
  {
    defect: "a request that arrives after the guest has stopped is taken for served",
    file: "controller/current-attempt.ts",
    find: 'if (trigger.kind !== "Requested" || !oldBootRuns(observation, attempt)) return attempt;',
    replace: 'if (trigger.kind !== "Requested") return attempt;',
  },
  {
    defect: "a guest that was started and went off is started again and again",
    file: "controller/marked-rules.ts",
    find: "  stoppedAgain,\n",
    replace: "",
  },
  {
    defect: "first sight is no baseline",
    file: "controller/request.ts",
    find: 'if (status.observedRestartGeneration === undefined) return { kind: "FirstSight" };',
    replace: "",
  },
  {
    defect: "a deleted resource takes its attempt with it",
    file: "controller/reconcile.ts",
    find: "if (seen === undefined) return known?.attempt?.touched === true ? known : undefined;",
    replace: "if (seen === undefined) return undefined;",
  },
  {
    defect: "the observed generation moves when the attempt begins",
    file: "controller/status.ts",
    find: "observedRestartGeneration: servedGeneration(verdict, served, virtualMachine),",
    replace:
      "observedRestartGeneration: Math.max(servedGeneration(verdict, served, virtualMachine) ?? 0, attempt?.request.restartGeneration ?? 0),",
  },
  {
    defect: "the result is not put on the domain: a powered-off domain of an old backup is started",
    file: "controller/decide.ts",
    find: 'if (verdict.kind !== "End" || attempt?.marked !== true || attempt.settled) return decision;',
    replace: "if (attempt === undefined || attempt !== undefined) return decision;",
  },
  {
    defect: "the status flaps: it carries the time of the pass",
    file: "controller/conditions.ts",
    find: 'const message = "no restart is due";',
    replace: "const message = `no restart is due (${Math.random()})`;",
  },
  {
    defect: "a lowered generation is not a new baseline: raising it again is lost",
    file: "controller/request.ts",
    find: "if (spec.restartGeneration !== undefined && spec.restartGeneration < status.observedRestartGeneration) {",
    replace: "if (spec.restartGeneration !== undefined && spec.restartGeneration < 0) {",
  },
  {
    defect: "an attempt that waits hides what the domain remembers",
    file: "controller/current-attempt.ts",
    find: "if (attempt?.marked === true) return joinedAttempt(",
    replace: "if (attempt !== undefined) return joinedAttempt(",
  },
  {
    defect: "the mark of a waiting attempt is looked for, and not that of the one on the domain",
    file: "controller/reconcile.ts",
    find: "attempt.marked ? attempt.id : undefined",
    replace: "attempt.id",
  },
  {
    defect: "a value that a newer one joined counts as new when it comes back",
    file: "controller/request.ts",
    find: "joinedTokens: newer ? withJoined(request) : request.joinedTokens,",
    replace: "joinedTokens: request.joinedTokens,",
  },
  {
    defect: "an earlier generation that the domain remembers counts as unserved after a revert",
    file: "controller/request.ts",
    find: "if (status.history?.some(({ id }) => id === mark.attempt) === true) return false;",
    replace: "",
  },
];

const root = fileURLToPath(new URL("../..", import.meta.url));
const { values } = parseArgs({
  options: { histories: { type: "string", default: "20000" }, seed: { type: "string", default: "1" } },
});

let missed = 0;
for (const mutation of mutations) {
  const found = await firstViolation(mutation);
  if (found === undefined) missed += 1;
  console.log(
    `${found === undefined ? "MISSED" : "found "}  ${mutation.defect}${found === undefined ? "" : `\n          ${found}`}`,
  );
}
console.log(`${mutations.length - missed} of ${mutations.length} planted defects were found`);
process.exitCode = missed === 0 ? 0 : 1;

/** The line of the simulation that tells of the first violation in a mutated copy; undefined where there is none. */
async function firstViolation({ file, find, replace }: Mutation): Promise<string | undefined> {
  const copy = await mkdtemp(join(tmpdir(), "warmboot-mutation-"));
  try {
    for (const folder of ["controller", "crds", "test/simulation", "package.json"]) {
      await cp(join(root, folder), join(copy, folder), { recursive: true });
    }
    await symlink(join(root, "node_modules"), join(copy, "node_modules"));
    const source = await readFile(join(copy, file), "utf8");
    if (source.split(find).length !== 2)
      throw new Error(`the mutation's text stands not once in ${file}: ${find}`);
    await writeFile(
      join(copy, file),
      source.replace(find, () => replace),
    );
    const simulate = [
      join(copy, "test/simulation/simulate.ts"),
      "--histories",
      values.histories,
      "--seed",
      values.seed,
    ];
    const output = await run(process.execPath, simulate).then(
      () => undefined,
      (error: unknown) => String(error),
    );
    if (output === undefined) return undefined;
    return /seed \d+ violates .*/.exec(output)?.[0] ?? output.slice(0, 300);
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}
