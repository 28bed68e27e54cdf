/**
 * Plants defects into a copy of the controller, one at a time, and shows that random histories find each: a
 * simulation that cannot fail proves nothing.
 *
 *     npm run mutate -- --histories 20000
 *     npm run mutate -- --only "the wall clock"
 */
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { CommandError, run } from "../support/run.ts";

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
    find: "if (tellsOfUnended(mark, virtualMachine, cluster))",
    replace: "if ((false as boolean) && tellsOfUnended(mark, virtualMachine, cluster))",
  },
  {
    defect: "the marks are read only when something is requested: a start that is owed is forgotten",
    file: "controller/reconcile.ts",
    find: "if (marksReadIn !== powerOf(seen.domain)) return hypervisor.look(reference, { comparison });",
    replace: "",
  },
  {
    defect: "a guest that obeys after its attempt has failed is left off",
    file: "controller/current-attempt.ts",
    find: "return ended !== undefined && stoppedLate(ended, domain.domain, now.epochMs) ? adopted : undefined;",
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
    find: "return beginAttempt(nonce, trigger.request, virtualMachine.spec.restartPolicy, now);",
    replace:
      "return { ...beginAttempt(nonce, trigger.request, virtualMachine.spec.restartPolicy, now), marked: true };",
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
    find: 'return attempt.recordIn === "Domain" ? bootByMarks(attempt, marks) : bootByEvents(attempt, domain);',
    replace:
      'return attempt.recordIn === "Domain" && attempt.domainId === domain.id ? bootByMarks(attempt, marks) : "New";',
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
    find: "if (attempt?.marked === true)\n",
    replace: "if (attempt !== undefined)\n",
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
  {
    defect: "mode Soft cuts the power",
    file: "controller/soft-rules.ts",
    find: 'if (attempt.mode === "Auto") return { attempt: forced(attempt, because) };',
    replace: 'if (attempt.mode !== "Hard") return { attempt: forced(attempt, because) };',
  },
  {
    defect: "the soft timeout is a tenth of what the policy says",
    file: "controller/soft-rules.ts",
    find: "now.monotonicMs < firstSignal.monotonicMs + timeoutSeconds * 1000",
    replace: "now.monotonicMs < firstSignal.monotonicMs + timeoutSeconds * 100",
  },
  {
    defect: "a guest that does not answer is not asked again",
    file: "controller/soft-rules.ts",
    find: "if (lastSignal !== undefined && now.monotonicMs < lastSignal.monotonicMs + policy.soft.resendSeconds * 1000)",
    replace: "if (lastSignal !== undefined)",
  },
  {
    defect: "nobody wakes up for the soft timeout",
    file: "controller/soft-rules.ts",
    find: "untilMs: Math.min(timeoutAtMs, resendAtMs),",
    replace: "untilMs: undefined,",
  },
  {
    defect: "a paused guest is asked",
    file: "controller/soft-rules.ts",
    find: "  waitWhilePaused,\n",
    replace: "",
  },
  {
    defect: "a guest that is resumed has no more time than was left to it before",
    file: "controller/soft-rules.ts",
    find: 'return { verdict: { kind: "Blocked", ...obstacle }, attempt: unheard(attempt) };',
    replace: 'return { verdict: { kind: "Blocked", ...obstacle } };',
  },
  {
    defect: "a guest that somebody else destroyed is told to have shut down when asked",
    file: "controller/marked-rules.ts",
    find: 'if (method === "Soft" && !gentleReasons.has(reason)) return "Start";',
    replace: "",
  },
  {
    defect:
      "a guest whose agent is gone before it has answered is told to have been stopped by somebody else",
    file: "controller/attempt.ts",
    find: 'return cause === "Failed" ? { ...refused, method: "Soft" } : refused;',
    replace: "return refused;",
  },
  {
    defect: "a domain without its request mark is asked and destroyed all the same",
    file: "controller/marked-rules.ts",
    find: "  markLost,\n",
    replace: "",
  },
  {
    defect: "what is saved or migrated away is marked",
    file: "controller/unmarked-rules.ts",
    find: "  savedOrMigrated,\n",
    replace: "",
  },
  {
    defect: "a domain that was off is told to have been shut down by whoever adopts it",
    file: "controller/unmarked-rules.ts",
    find: "wasOff: !running",
    replace: "wasOff: false",
  },
  {
    defect: "a restart of a paused guest is begun",
    file: "controller/unmarked-rules.ts",
    find: "  cannotHear,\n",
    replace: "",
  },
  {
    defect: "a transient domain is marked without being defined",
    file: "controller/preflight-rules.ts",
    find: "if (persistent) return isInPlace(subject) ? undefined : defineForStart(subject);",
    replace:
      "if (persistent || !persistent) return isInPlace(subject) ? undefined : defineForStart(subject);",
  },
  {
    defect: "a request that is taken back after the guest was asked is dropped",
    file: "controller/resource-rules.ts",
    find: 'if (attempt === undefined || attempt.touched) return undefined;\n  const message = "the request was taken back',
    replace: 'if (attempt === undefined) return undefined;\n  const message = "the request was taken back',
  },
  {
    defect: "a request that is taken back in time is served all the same",
    file: "controller/request.ts",
    find: 'if (names(metadata.annotations[annotations.cancel], request)) return { kind: "Cancelled", request };',
    replace: "",
  },
  {
    defect: "a restart that is under way fails with the deadline",
    file: "controller/resource-rules.ts",
    find: "if (attempt === undefined || attempt.touched) return undefined;\n  const deadline",
    replace: "if (attempt === undefined) return undefined;\n  const deadline",
  },
  {
    defect: "a domain that was undefined in the middle of its restart is waited for",
    file: "controller/resource-rules.ts",
    find: "  domainGone,\n",
    replace: "",
  },
  {
    defect: "the younger of two resources has the domain",
    file: "controller/claim.ts",
    find: "return one.creationTimestamp < other.creationTimestamp;",
    replace: "return one.creationTimestamp > other.creationTimestamp;",
  },
  {
    defect: "restarts that are suspended are begun",
    file: "controller/resource-rules.ts",
    find: "  suspended,\n",
    replace: "",
  },
  {
    defect: "suspending restarts leaves a guest off that was stopped",
    file: "controller/resource-rules.ts",
    find: "if (!virtualMachine.spec.suspend || attempt === undefined || attempt.marked) return undefined;",
    replace: "if (!virtualMachine.spec.suspend || attempt === undefined) return undefined;",
  },
  {
    defect: "the least interval is a thousandth of what the policy says",
    file: "controller/resource-rules.ts",
    find: "attempt.startedAtMs + minIntervalSeconds * 1000;",
    replace: "attempt.startedAtMs + minIntervalSeconds;",
  },
  {
    defect: "a domain that was powered off after a failed restart is taken for a late obedience",
    file: "controller/late-stop.ts",
    find: "if (domain.id !== undefined || !reasons.includes(domain.reason)) return false;",
    replace: "if (domain.id !== undefined) return false;",
  },
  {
    defect: "an answer that was lost counts as success",
    file: "controller/attempt.ts",
    find: "return afterSilence(asked, effect, outcome.message, began, now);",
    replace: "return afterSuccess(asked, effect, began, now);",
  },
  {
    defect: "an effect that was never sent counts as success",
    file: "controller/attempt.ts",
    find: 'if (outcome.kind === "NotSent") return afterNotSent(attempt, effect, outcome.message, now);',
    replace: 'if (outcome.kind === "NotSent") return afterSuccess(attempt, effect, now);',
  },
  {
    defect: "a refused mark counts as written",
    file: "controller/attempt.ts",
    find: "return afterRefusal(asked, effect, outcome, now);",
    replace: "return { ...afterRefusal(asked, effect, outcome, now), marked: true };",
  },
  {
    defect: "a refused signal cuts the power of a guest in mode Soft",
    file: "controller/soft-rules.ts",
    find: 'return forceOrFail(\n    attempt,\n    "ShutdownRefused",',
    replace: 'return forceOrFail(\n    { ...attempt, mode: "Auto" },\n    "ShutdownRefused",',
  },
  {
    defect: "a served generation counts as requested",
    file: "controller/request.ts",
    find: "return restartGeneration > (status.observedRestartGeneration ?? 0) ? restartGeneration : undefined;",
    replace:
      "return restartGeneration >= (status.observedRestartGeneration ?? 0) ? restartGeneration : undefined;",
  },
  {
    defect: "a token that was served before counts as new when it comes back",
    file: "controller/request.ts",
    find: 'if (servedTokens(status).includes(value)) return revertedToken(value, "was served before");',
    replace: "",
  },
  {
    defect: "a time before the last one served counts as new",
    file: "controller/request.ts",
    find: "return time !== undefined && servedTime !== undefined && time < servedTime;",
    replace: "return time !== undefined && servedTime !== undefined && time < 0;",
  },
  {
    defect: "a token with control characters is written into the domain's XML",
    file: "controller/request.ts",
    find: "if (/\\p{C}/u.test(value))",
    replace: "if (/\\p{Lu}{99}/u.test(value))",
  },
  {
    defect: "a token that is served is not told",
    file: "controller/status.ts",
    find: "observedRestartToken: served.observedRestartToken ?? before.observedRestartToken,",
    replace: "observedRestartToken: before.observedRestartToken ?? served.observedRestartToken,",
  },
  {
    defect: "the status keeps telling of a domain that is gone",
    file: "controller/status.ts",
    find: 'case "Missing":\n      return undefined;',
    replace: 'case "Missing":\n      return virtualMachine.status.domain;',
  },
  {
    defect: "the status flaps: a condition's transition is always now",
    file: "controller/status.ts",
    find: "lastTransitionTime: same?.lastTransitionTime ?? formatTimestamp(epochMs) };",
    replace:
      "lastTransitionTime: same === undefined ? formatTimestamp(epochMs) : formatTimestamp(epochMs) };",
  },
  {
    defect: "the domain's memory of earlier requests is not read",
    file: "controller/reconcile.ts",
    find: "const told = isNews ? withServedBefore(virtualMachine, mark, cluster) : virtualMachine;",
    replace: "const told = isNews ? virtualMachine : virtualMachine;",
  },
  {
    defect: "a process that is told to end begins another restart",
    file: "controller/reconcile.ts",
    find: 'if (this.#ending && verdict.kind === "Act" && !isOwed(verdict.effect)) return false;',
    replace: "",
  },
  {
    defect: "an effect that was just refused is tried again at once, until it fails",
    file: "controller/decide.ts",
    find: "const decision = heldBack(behindPredecessor(settledFirst(decided, observation), observation), now);",
    replace: "const decision = behindPredecessor(settledFirst(decided, observation), observation);",
  },
  {
    defect: "a resource is ready while its restart is under way",
    file: "controller/conditions.ts",
    find: '    case "Wait":\n    case "Look":\n    case "Act":\n      return verdict;',
    replace: '    case "Look":\n    case "Act":\n      return verdict;\n    case "Wait":',
  },
  {
    defect: "a process that lost its lease goes on",
    file: "controller/reconcile.ts",
    find: "return lease.isHeld() || isOwedWithoutLease(observation, decision, lease);",
    replace: "return lease.isHeld() || isOwedWithoutLease(observation, decision, lease) || true;",
  },
  {
    defect: "the next holder does not wait for what the previous one has sent",
    file: "controller/decide.ts",
    find: 'if (verdict.kind !== "Act" || now.monotonicMs >= predecessorGoneAtMs) return decision;',
    replace: 'if (verdict.kind !== "Act" || now.monotonicMs >= 0) return decision;',
  },
  {
    defect: "the next holder starts what is off at once: a late signal ends that boot",
    file: "controller/decide.ts",
    find: 'if (verdict.kind !== "Act" || now.monotonicMs >= predecessorGoneAtMs) return decision;',
    replace:
      'if (verdict.kind !== "Act" || verdict.effect.kind === "Start" || now.monotonicMs >= predecessorGoneAtMs) return decision;',
  },
  {
    defect: "the next holder begins a new restart at once: a late mark brings it back to life",
    file: "controller/decide.ts",
    find: 'if (verdict.kind !== "Act" || now.monotonicMs >= predecessorGoneAtMs) return decision;',
    replace:
      'if (verdict.kind !== "Act" || decision.attempt?.isInherited === false || now.monotonicMs >= predecessorGoneAtMs) return decision;',
  },
  {
    defect: "a process that lost its lease starts a guest also when the next holder may ask it",
    file: "controller/lost-lease.ts",
    find: "return wasStoppedHere && now.monotonicMs < goneAtMs;",
    replace: "return wasStoppedHere && goneAtMs > 0;",
  },
  {
    defect: "a process that lost its lease starts what it inherited",
    file: "controller/lost-lease.ts",
    find: 'const wasStoppedHere = !attempt.isInherited && attempt.method !== "Start";',
    replace: 'const wasStoppedHere = attempt.method !== "Start";',
  },
  {
    defect: "what libvirt still tells of an earlier reboot is taken for this one",
    file: "controller/marked-rules.ts",
    find: "  justRebooted,\n",
    replace: "",
  },
  {
    defect: "a restart in place goes on after a crash as if its guest could not have rebooted",
    file: "controller/attempt.ts",
    find: 'unproven: inPlace || recordIn === "Status",',
    replace: "unproven: false,",
  },
  {
    defect: "without marks the guest is asked before the status has the attempt",
    file: "controller/unmarked-rules.ts",
    find: 'if (stored.attempt?.id === attempt.id && stored.attempt.recordedIn === "Status") {',
    replace: "if (stored.attempt?.id === attempt.id || attempt.id.length > 0) {",
  },
  {
    defect: "a restart is begun while libvirt is busy with the domain",
    file: "controller/unmarked-rules.ts",
    find: "  busy,\n",
    replace: "",
  },
  {
    defect: "the reset button is pressed again and again",
    file: "controller/hard-rules.ts",
    find: "[waitForReset, markForReset,",
    replace: "[markForReset,",
  },
  {
    defect: "a request joins a restart in place that has happened",
    file: "controller/current-attempt.ts",
    find: "if (evidenceOfReboot(attempt, domain.domain, domain.agent).length > 0) return false;",
    replace: "",
  },
  {
    defect: "what a resource that is gone has begun is left undone",
    file: "controller/reconcile.ts",
    find: "if (mark === undefined || !this.#isOrphaned(mark)) return undefined;",
    replace: "if (mark === undefined || mark !== undefined) return undefined;",
  },
  {
    defect: "a guest that sleeps is asked",
    file: "controller/soft-rules.ts",
    find: "  wake,\n",
    replace: "",
  },
  {
    defect: "a domain that takes no marks is destroyed without any record",
    file: "controller/attempt.ts",
    find: 'return { ...unmarkable, recordIn: "Status", unmarkable: true };',
    replace: "return { ...unmarkable, marked: true, unmarkable: true };",
  },
  {
    defect: "the power is cut without a look at what the next start needs",
    file: "controller/hard-rules.ts",
    find: "const preflight = preflightOfStart(subject);",
    replace: "const preflight = undefined;",
  },
  {
    defect: "a guest is asked anew without a look at what the next start needs",
    file: "controller/soft-rules.ts",
    find: "lastSignal === undefined && !attempt.inPlace ?",
    replace: "lastSignal === undefined && attempt.inPlace ?",
  },
  {
    defect: "what was seen to be there for the next start is believed for an hour",
    file: "controller/attempt.ts",
    find: "const preflightHoldsMs = 10_000;",
    replace: "const preflightHoldsMs = 3_600_000;",
  },
  {
    defect: "a repair is repeated at once",
    file: "controller/preflight-rules.ts",
    find: "tried !== undefined && now.monotonicMs < lookAgainMs(tried.at)",
    replace: "tried !== undefined && now.monotonicMs >= lookAgainMs(tried.at)",
  },
  {
    defect: "a start that is refused is not looked into",
    file: "controller/marked-rules.ts",
    find: "if (refusal === undefined || !wasStartRefused(attempt)) return undefined;",
    replace: "if (refusal === undefined || wasStartRefused(attempt)) return undefined;",
  },
  {
    defect: "a guest that was stopped waits for a definition that it does not need",
    file: "controller/marked-rules.ts",
    find: 'preflightOfStart({ ...subject, definition: { kind: "None" } })',
    replace: "preflightOfStart(subject)",
  },
  {
    defect: "a guest that was stopped is left off at the deadline, for what its host lacks",
    file: "controller/decide.ts",
    find: "if (isStoppedByUs && verdict.findings !== undefined) return undefined;",
    replace: "",
  },
  {
    defect: "the disks that are left out are forgotten at the start",
    file: "controller/marked-rules.ts",
    find: 'effect: { kind: "Start", without },',
    replace: 'effect: { kind: "Start", without: without.slice(9) },',
  },
  {
    defect: "the boot disk is left out",
    file: "controller/preflight-rules.ts",
    find: 'return policy.onUnavailableVolume === "Detach" && disk !== undefined;',
    replace: 'return policy.onUnavailableVolume === "Detach" || disk === "vda";',
  },
  {
    defect: "disks are left out whatever the policy says",
    file: "controller/preflight-rules.ts",
    find: 'return policy.onUnavailableVolume === "Detach" && disk !== undefined;',
    replace: "return policy.onUnavailableVolume.length > 0 && disk !== undefined;",
  },
  {
    defect: "what a process that is gone has left out is forgotten",
    file: "controller/status.ts",
    find: "if (!isInherited) return nonEmpty(",
    replace: "return nonEmpty(",
  },
  {
    defect: "a disk that was plugged in is told to be left out for ever",
    file: "controller/status.ts",
    find: "return absent === undefined ? before : nonEmpty(before.filter(({ disk }) => absent.includes(disk)));",
    replace: "return absent === undefined ? before : before;",
  },
  {
    defect: "a disk that can be had again is not plugged in",
    file: "controller/resource-rules.ts",
    find: "  plugIn,\n",
    replace: "",
  },
  {
    defect: "a definition is defined in place",
    file: "controller/preflight-rules.ts",
    find: "if (persistent) return isInPlace(subject) ? undefined : defineForStart(subject);",
    replace: "if (persistent) return defineForStart(subject);",
  },
  {
    defect: "a domain that is off is started without its definition where the policy is in place",
    file: "controller/preflight-rules.ts",
    find: "return domain.id !== undefined && endsInPlace(attempt, policy)",
    replace: "return endsInPlace(attempt, policy)",
  },
  {
    defect: "a restart in place that ends in a power cycle applies no definition",
    file: "controller/hard-rules.ts",
    find: "    define ??\n",
    replace: "",
  },
  {
    defect: "the definition is applied at rest",
    file: "controller/plug-in.ts",
    find: "  if (findings === undefined || virtualMachine.spec.suspend) return undefined;",
    replace: `  if (domain.next?.isToBeDefined === true) {
    const effect = { kind: "Define", definition: virtualMachine.spec.definition?.xml, replaces: true };
    return { verdict: { kind: "Act", effect, reason: "Preparing", message: "", announce: true } };
  }
  if (findings === undefined || virtualMachine.spec.suspend) return undefined;`,
  },
  {
    defect: "a configuration is rolled back at the first refusal",
    file: "controller/marked-rules.ts",
    find: "const refusalsBeforeRollBack = 3;",
    replace: "const refusalsBeforeRollBack = 1;",
  },
  {
    defect: "a configuration is rolled back for what the host lacked",
    file: "controller/marked-rules.ts",
    find: "return isExplained ? { ...refusal, count: 0, retryAtMs: 0 } : refusal;",
    replace: "return isExplained ? { ...refusal, retryAtMs: 0 } : refusal;",
  },
  {
    defect: "a definition that does not start is never rolled back",
    file: "controller/marked-rules.ts",
    find: "const refusalsBeforeRollBack = 3;",
    replace: "const refusalsBeforeRollBack = 99;",
  },
  {
    defect: "a definition that a failed restart has applied counts as the configuration before",
    file: "controller/preflight-rules.ts",
    find: "return isNew && attempt.definition === undefined",
    replace: 'return isNew && attempt.id === ""',
  },
  {
    defect: "a restart whose definition was rolled back succeeds",
    file: "controller/marked-rules.ts",
    find: 'result: rolledBack ? "Failed" : "Succeeded",',
    replace: 'result: "Succeeded",',
  },
  {
    defect: "a running machine is compared with its next start once and never again",
    file: "controller/reconcile.ts",
    find: 'if (marksReadIn === "Off") return false;',
    replace: 'if (marksReadIn === "Off" || comparedAtMs !== undefined) return false;',
  },
  {
    defect: "a definition that cannot be used is told so only by the pass that has read it",
    file: "controller/conditions.ts",
    find: "if (pendingChanges === undefined) return unusableBefore(observation);",
    replace: "if (pendingChanges === undefined) return [];",
  },
];

const root = fileURLToPath(new URL("../..", import.meta.url));
const { values } = parseArgs({
  options: {
    histories: { type: "string", default: "100000" },
    seed: { type: "string", default: "1" },
    workers: { type: "string", default: "2" },
    only: { type: "string", default: "" },
  },
});

const waiting = mutations.filter(({ defect }) => defect.includes(values.only)).values();
let planted = 0;
let missed = 0;
await Promise.all(Array.from({ length: Number(values.workers) }, () => plantNext()));
console.log(`${planted - missed} of ${planted} planted defects were found`);
process.exitCode = missed === 0 ? 0 : 1;

/** Plants one defect after the other, beside those that do the same. */
async function plantNext(): Promise<void> {
  for (const mutation of waiting) {
    const violation = await firstViolation(mutation);
    planted += 1;
    if (violation === undefined) missed += 1;
    console.log(
      violation === undefined
        ? `MISSED  ${mutation.defect}`
        : `found   ${mutation.defect}\n          ${violation}`,
    );
  }
}

/** The line of the simulation that tells of the first violation in a mutated copy; undefined where there is none. */
async function firstViolation({ file, find, replace }: Mutation): Promise<string | undefined> {
  const copy = await mkdtemp(join(tmpdir(), "warmboot-mutation-"));
  try {
    for (const folder of ["controller", "crds", "src/kubernetes", "test/simulation", "package.json"]) {
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
    const { histories, seed } = values;
    const options = ["--histories", histories, "--seed", seed, "--workers", "1"];
    const simulate = [join(copy, "test/simulation/simulate.ts"), ...options];
    try {
      await run(process.execPath, simulate);
      return undefined;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      const violation = /seed \d+ violates .*/.exec(error.stderr)?.[0];
      // A mutant that does not even run proves nothing.
      if (violation === undefined) throw error;
      return violation;
    }
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}
