import type { RestartMethod, RestartRequest } from "../../crds/restart.ts";
import type { VirtualMachine } from "../../crds/virtual-machine.ts";
import type { Decision, Verdict } from "../../controller/decision.ts";
import type { Attempt, RecordPlace } from "../../controller/attempt.ts";
import type { Effect } from "../../controller/ports.ts";
import type { Actor, Boot } from "./domain.ts";
import type { Act, World } from "./world.ts";
import { Preparation } from "./preparation.ts";
import { unrest } from "./rest.ts";
import { Restraint } from "./restraint.ts";

/** A sentence that must be true, and how a history made it false. */
export interface Violation {
  invariant: string;
  how: string;
}

/** What one attempt did, as the outside world saw it. */
interface Deeds {
  /** What it was begun for, before anything joined. */
  request: string;
  /** Where it is on record. */
  recordIn: RecordPlace;
  /** Whether its boot was to end in place, which its marks do not tell. */
  inPlace: boolean;
  /** How many boots it ended, by a stop or by a reboot in place. */
  ended: number;
  started: number;
  /** The boot that ran when the attempt was put on record; undefined where the domain was off. */
  marked: Boot | undefined;
  /** How many boots had begun then, reboots in place among them; undefined before. */
  bootsAtMark: number | undefined;
  /** Whether its result is on the domain. */
  settled: boolean;
}

type Ended = Verdict & { kind: "End" };

/** How long after a failure a guest that goes off is still ours to start, in milliseconds; some seconds less. */
const lateMs = 590_000;

/** What refuses an effect, and what keeps it from being carried out however often it is tried. */
const refusals = [
  "libvirt refuses an effect",
  "libvirt refuses an effect again and again",
  "an effect cannot be sent",
  "its process stops answering",
];
const lostEffects = [...refusals.slice(1), "an effect's answer is lost"];

/** What ends a process in the middle of what it does. */
const deaths = [
  "the controller is killed",
  "the controller dies at an effect",
  "the controller is told to end",
];

const restoredBackup = "an older backup of the API server is restored";

/** What takes a request back that only waits. */
const takenBack = [
  "the newest request is taken back",
  "an old annotation comes back",
  "the annotation gets an earlier time",
  "a malformed annotation comes",
];

/** What takes marks away from a domain, or makes it stranger than this. */
const reasonsForDoubt = [
  "an operator reverts to a snapshot",
  "an operator undefines it",
  "an operator defines it anew",
];

/** Why a restart may fail although nobody disturbs it: its guest or its agent does not answer, or a policy says so. */
const excuses = new Set(["GuestShutdownTimedOut", "DeadlineExceeded", "GuestNotReady", "AgentNotConnected"]);

/** Keeps account of what the controller does, and holds the invariants against it. */
export class Ledger {
  violation: Violation | undefined;
  /** Told of every effect and every end of a boot, in words where they are wanted. */
  onEffect: (text: () => string) => void = () => {};
  readonly #world: World;
  readonly #deeds = new Map<string, Deeds>();
  /** When each generation and each token was first asked for, on the monotonic clock. */
  readonly #requestedAtMs = new Map<string, number>();
  /** What has happened so far, by name. */
  readonly #happenings = new Set<string>();
  readonly #disturbances: ReadonlySet<string>;
  /** How often a lowered generation or a restored backup has made one a request again that had been served. */
  #baselines = 0;
  #stoppedAtMs = 0;
  #failedAtMs = Number.NEGATIVE_INFINITY;
  #writesAtRest = 0;
  #effectsAtRest = 0;

  readonly #lostLeases: ReadonlySet<string>;
  readonly #restraint: Restraint;
  readonly #preparation: Preparation;
  #beganAtFault = false;
  /** The last token that the controller took for a request. */
  #token: string | undefined;

  constructor(world: World, disturbances: ReadonlySet<string>, lostLeases: ReadonlySet<string>) {
    this.#world = world;
    this.#disturbances = disturbances;
    this.#lostLeases = lostLeases;
    this.#restraint = new Restraint(
      world,
      lostLeases,
      (...names) => this.#anyOf(...names),
      () => this.isUndisturbed,
      (invariant, how) => this.fail(invariant, how),
    );
    this.#preparation = new Preparation(
      world,
      lostLeases,
      (...names) => this.#anyOf(...names),
      (invariant, how) => this.fail(invariant, how),
    );
  }

  /** From here on the invariants hold. */
  begin(): void {
    this.#world.hypervisor.beforePerform = (effect) => this.#before(effect);
    this.#world.onAct = (act) => this.#acts(act);
    this.#world.onPerformance = (performance) => {
      this.#restraint.performed(performance);
      this.#preparation.performed(performance);
    };
    this.#world.hypervisor.onEnd = (boot) => this.#bootEnded(boot);
    this.#world.hypervisor.onReboot = (_boot, by) => this.#rebooted(by);
    this.#world.hypervisor.host.onChange = () => {
      this.#preparation.hostChanged();
      this.#restraint.hostChanged();
    };
    this.#preparation.begin();
    const { api, hypervisor } = this.#world;
    const { xml = "" } = api.stored?.spec.definition ?? {};
    this.#beganAtFault = hypervisor.host.unstartable.has(xml);
    this.happened();
  }

  fail(invariant: string, how: string): void {
    this.violation ??= { invariant, how };
    this.onEffect(() => `! ${invariant}: ${how}`);
  }

  /** Whether only requests have happened so far. */
  get isUndisturbed(): boolean {
    return ![...this.#happenings].some((name) => this.#disturbances.has(name));
  }

  /** Something is about to happen. */
  happens(name: string): void {
    this.#happenings.add(name);
    if (name === restoredBackup) this.#baselines += 1;
  }

  /** It has happened: new requests may be there. */
  happened(): void {
    this.#preparation.happened();
    const { stored } = this.#world.api;
    const now = this.#world.timeline.now().monotonicMs;
    const names = [stored?.spec.restartGeneration, ...Object.values(stored?.metadata.annotations ?? {})];
    for (const name of names)
      if (!this.#requestedAtMs.has(String(name))) this.#requestedAtMs.set(String(name), now);
  }

  /** A decision; its results are checked against what really happened. */
  decided(decision: Decision, seen: VirtualMachine | undefined): void {
    const { verdict, attempt, trigger } = decision;
    if (trigger.kind === "Requested" && trigger.request.restartToken !== undefined)
      this.#token = trigger.request.restartToken;
    this.#restraint.decided(decision, seen);
    this.#preparation.decided(decision, seen);
    // From a lower baseline on, the generations above it are asked for anew.
    if (verdict.kind === "Rebase" && verdict.served.observedRestartGeneration !== undefined)
      this.#baselines += 1;
    if (attempt === undefined) return;
    const deeds = this.#of(attempt);
    deeds.recordIn = attempt.recordIn;
    deeds.inPlace ||= attempt.inPlace;
    if (attempt.recordIn === "Status" && attempt.marked) this.#recorded(attempt.id);
    if (verdict.kind !== "End") return;
    // Where there are no marks the status alone has the result.
    if (attempt.recordIn === "Status") deeds.settled = true;
    if (verdict.result === "Failed") this.#failedAtMs = this.#world.timeline.now().monotonicMs;
    const isProvable = deeds.recordIn === "Domain" && !deeds.inPlace;
    if (
      verdict.result === "Unverified" &&
      isProvable &&
      this.#sawTheLatest &&
      !this.#anyOf(...reasonsForDoubt)
    )
      this.fail("only what somebody else did to the marks makes a restart unverified", verdict.reason);
    if (verdict.reason === "StoppedAfterStart" && deeds.started === 0)
      this.fail("a failure tells what happened", "it was never started");
    if (verdict.result === "Succeeded") this.#succeeded(attempt, verdict, deeds);
    this.#undisturbed(verdict);
  }

  /** All has come to rest: what is owed has been done. */
  atRest(): void {
    const { api, hypervisor } = this.#world;
    this.#nobodyLeftOff();
    this.#everyRequestEnded();
    this.#lastTokenEnded();
    this.#onceEach();
    this.#guestLetGo();
    this.#preparation.atRest();
    const wasTouched = (attempt: string) => this.#deeds.get(attempt)?.bootsAtMark !== undefined;
    for (const { invariant, how } of unrest(this.#world, wasTouched)) this.fail(invariant, how);
    this.#writesAtRest = api.writes.length;
    this.#effectsAtRest = hypervisor.effects.length;
  }

  /** Another look finds nothing to do and nothing to write. */
  stays(): void {
    const { api, hypervisor } = this.#world;
    if (api.writes.length !== this.#writesAtRest)
      this.fail("the status converges and stays", "a look at rest wrote a status");
    if (hypervisor.effects.length !== this.#effectsAtRest)
      this.fail("what is at rest stays at rest", "a look at rest did something");
  }

  get #bootsBegun(): number {
    const { boots } = this.#world.hypervisor;
    return boots.reduce((count, { inPlace }) => count + 1 + inPlace.length, 0);
  }

  #acts({ what, isHeld, isOwnStart }: Act): void {
    if (!isHeld && !isOwnStart)
      this.fail("a process that lost its lease acts on nothing that it inherited", what);
  }

  #succeeded(attempt: Attempt, { evidence, method }: Ended, deeds: Deeds): void {
    const { marked, bootsAtMark } = deeds;
    if (evidence.length === 0) this.fail("success has evidence", "a success was recorded without any");
    if (attempt.toldResult !== undefined || bootsAtMark === undefined) return;
    const { boots } = this.#world.hypervisor;
    const sentence = "success means that the old boot ended and a new one began";
    // A mark that is late may come after a reboot that it tells to have come after it; the request came before both.
    const isLate = deeds.inPlace && this.#anyOf(...this.#lostLeases);
    if (this.#bootsBegun <= bootsAtMark && !isLate)
      this.fail(sentence, "no boot began since it was put on record");
    if (marked === undefined && method !== "Start" && method !== undefined)
      this.fail("the result tells how the old boot ended", `${method} for a domain that was off`);
    this.#toldHow(attempt, method, marked);
    const startedAtMs = boots.at(-1)?.inPlace.at(-1)?.atMs ?? boots.at(-1)?.startedAtMs ?? 0;
    for (const name of [attempt.request.restartGeneration, attempt.request.restartToken]) {
      if (name !== undefined && (this.#requestedAtMs.get(String(name)) ?? 0) > startedAtMs) {
        this.fail(
          "a request is served by a boot that began after it",
          `${name} was asked for after the boot began`,
        );
      }
    }
  }

  /** How the old boot ended, where neither a death nor an answer that was lost hides it. */
  #toldHow({ id }: Attempt, method: RestartMethod | undefined, marked: Boot | undefined): void {
    // A reboot in place leaves its boot as it is.
    if (marked !== undefined && (marked.end === undefined || marked.inPlace.some(({ by }) => by === id)))
      return;
    if (this.#hadToForget() || this.#anyOf(...refusals, "an effect's answer is lost")) return;
    const ended = marked?.end === "Shutdown" ? "Soft" : "Hard";
    const truth = marked?.endedBy === id ? ended : "Start";
    // An operator who presses the same button leaves the same trace.
    const looksAlike = truth === "Start" && method === "Soft" && marked?.end === "Shutdown";
    if (method !== truth && !looksAlike)
      this.fail("the result tells how the old boot ended", `${method} for ${truth}`);
  }

  /** Where nobody disturbs it, the controller has no excuse. */
  #undisturbed({ result, reason, method }: Ended): void {
    if (!this.isUndisturbed) return;
    if (reason === "DefinitionRolledBack" && this.#isAtFault) return;
    // What was off is not compared with its next start: nothing tells that it has never been started with that.
    const mayStayOff = this.#isLeftConfigured || (this.#isAtFault && method === "Start");
    if (reason === "StartRefused" && mayStayOff) return;
    const isAllowed = result === "Succeeded" || result === "Skipped" || excuses.has(reason);
    if (!isAllowed) this.fail("undisturbed, a restart succeeds or its guest is deaf", `${result}: ${reason}`);
  }

  /** Whether a definition has come that libvirt does not start. */
  get #isAtFault(): boolean {
    return this.#beganAtFault || this.#anyOf("the definition changes to one that does not start");
  }

  /** Whether it may have stayed the configuration when its resource did not speak of it any more. */
  get #isLeftConfigured(): boolean {
    return this.#isAtFault && this.#anyOf("the definition goes away", "the definition refers to a ConfigMap");
  }

  /** Whether libvirt itself, or somebody who took the marks away, may have kept a guest from being started again. */
  get #mayBeUnstartable(): boolean {
    // A guest that is saved and restored may obey what it was asked before, and nobody knows that any more.
    const isRestored = this.#anyOf("an operator saves it");
    return (
      isRestored || this.#isLeftConfigured || this.#anyOf(...refusals, ...lostEffects, ...reasonsForDoubt)
    );
  }

  #nobodyLeftOff(): void {
    const { hypervisor, api } = this.#world;
    const last = hypervisor.boots.at(-1);
    const stopper = last?.end === undefined ? undefined : this.#deeds.get(last.endedBy ?? "");
    if (stopper === undefined || !hypervisor.exists || isHeld(hypervisor.domain.reason)) return;
    const status = api.stored?.status;
    if (status?.attempt !== undefined) return;
    // It is another resource's to finish, which is not simulated.
    if (status === undefined && api.rivals.length > 0) return;
    // Without marks, what the process and the resource knew is gone with them.
    if (stopper.recordIn === "Status" && this.#hadToForget()) return;
    // Without the marks and without the process, nothing tells that it was asked.
    if (this.#hadToForget() && this.#anyOf("an operator undefines it", "an operator defines it anew")) return;
    if (this.#mustStillBeStarted(last)) {
      this.fail("a guest that obeys after its attempt has failed is started", "it is off");
      return;
    }
    if (!this.#hadToForget() && !this.#mayBeUnstartable) {
      this.fail("a guest that we have stopped runs once its host lacks nothing", "it is off");
      return;
    }
    const isTold = status?.lastRestart?.id === last?.endedBy && status?.lastRestart?.result === "Failed";
    if (!stopper.settled && !isTold)
      this.fail(
        "what our action stopped is started, or its failure is told",
        `it is off: ${status?.lastRestart?.result}`,
      );
  }

  #mustStillBeStarted(last: Boot | undefined): boolean {
    const { api } = this.#world;
    const lastRestart = api.stored?.status.lastRestart;
    const isOurs = last?.end === "Shutdown" && lastRestart?.id === last.endedBy;
    const isLate =
      lastRestart?.reason === "GuestShutdownTimedOut" && this.#stoppedAtMs - this.#failedAtMs < lateMs;
    return isOurs && isLate && !this.#hadToForget();
  }

  /** Whether the history took from the controller what it would need to know. */
  #hadToForget(): boolean {
    return this.#processWasLost() || this.#anyOf("the resource is deleted", restoredBackup);
  }

  /** Whether the process, its clock or its connections were lost, or what it works on. */
  #processWasLost(): boolean {
    return this.#anyOf(
      ...this.#lostLeases,
      ...deaths,
      "the wall clock is set",
      "status writes are lost",
      "libvirt is away",
      "libvirtd is restarted",
      "an operator undefines it",
      "an operator defines it anew",
    );
  }

  #anyOf(...names: string[]): boolean {
    return names.some((name) => this.#happenings.has(name));
  }

  #everyRequestEnded(): void {
    const { stored } = this.#world.api;
    if (stored === undefined || stored.status.attempt !== undefined) return;
    const wanted = stored.spec.restartGeneration ?? 0;
    const { observedRestartGeneration: observed } = stored.status;
    if (observed !== wanted)
      this.fail(
        "every request ends in a recorded result",
        `generation ${wanted} is requested, ${observed} observed`,
      );
  }

  /** What the controller has once taken for a request is served, although its annotation may be gone. */
  #lastTokenEnded(): void {
    const { stored } = this.#world.api;
    if (stored === undefined || stored.status.attempt !== undefined || this.#hadToForget()) return;
    if (this.#anyOf(...takenBack)) return;
    const { observedRestartToken, history = [] } = stored.status;
    const served = new Set([
      observedRestartToken,
      ...history.flatMap(({ request }) => [request.restartToken, ...(request.joinedTokens ?? [])]),
    ]);
    if (this.#token !== undefined && !served.has(this.#token))
      this.fail("every request ends in a recorded result", `${this.#token} did not`);
  }

  /** Two attempts must not have ended a boot each for one and the same request. */
  #onceEach(): void {
    // Who loses its lease and the marks at once has left nothing that the next holder could know it by.
    if (
      this.#anyOf(...this.#lostLeases) &&
      this.#anyOf("an operator undefines it", "an operator defines it anew")
    )
      return;
    // Both records of a request can be lost: the domain's to an operator, the status with the process that writes it.
    const isForgotten = this.#anyOf("an operator undefines it", "an operator defines it anew");
    const isUntold = this.#anyOf("the API server becomes slow", "status writes are lost", restoredBackup);
    if (isForgotten && isUntold) return;
    // A domain that is transient by now cannot tell of it, nor can a process that died before it did.
    if (this.#anyOf("an operator undefines it") && this.#anyOf(...deaths)) return;
    const byRequest = new Map<string, number>();
    for (const { request, ended, inPlace } of this.#deeds.values()) {
      // A boot that was reset in place tells nothing of it once its domain is defined anew, and who knew it is gone.
      if (
        inPlace &&
        this.#hadToForget() &&
        this.#anyOf("an operator undefines it", "an operator defines it anew")
      )
        continue;
      if (ended > 0) byRequest.set(request, (byRequest.get(request) ?? 0) + ended);
    }
    for (const [request, count] of byRequest) {
      if (count > 1)
        this.fail(
          "our signals and destroys end at most one boot for a request",
          `${request} ended ${count} boots`,
        );
    }
  }

  /** A guest that nobody works on reboots as its configuration says. */
  #guestLetGo(): void {
    const { hypervisor, api } = this.#world;
    const lost = this.#anyOf(...lostEffects);
    if (api.stored?.status.attempt !== undefined || lost || this.#hadToForget()) return;
    if (hypervisor.running?.onReboot === "destroy")
      this.fail("a guest that is left running may reboot by itself again", "it may not");
  }

  #before(effect: Effect): void {
    const { hypervisor } = this.#world;
    const { actor, running } = hypervisor;
    this.onEffect(() => {
      const where = running === undefined ? "a domain that is off" : `boot ${hypervisor.boots.length}`;
      return `${actor}: ${effect.kind} of ${where}`;
    });
    switch (effect.kind) {
      case "Mark":
        this.#recorded(effect.mark.attempt);
        return;
      case "Shutdown":
      case "Reboot":
        if (running !== undefined) this.#mustBeOnRecord(actor, running, "no signal without its record");
        return;
      case "Destroy":
      case "Reset":
        if (running !== undefined)
          this.#mustBeOnRecord(actor, running, "only a marked boot is ended by force");
        return;
      case "Wake":
      case "Resume":
        if (running !== undefined) this.#mustBeOnRecord(actor, running, "no guest is woken without a record");
        return;
      case "Start":
        // What libvirt refuses starts nothing.
        if (hypervisor.host.refusalToStart(effect.without) === undefined) this.#starts(actor);
        return;
      case "Settle":
        this.#settles(effect.mark.attempt);
        return;
      case "RollBack":
        this.#preparation.rollsBack(actor);
        return;
      case "Release":
      case "Repair":
      case "Define":
      case "AttachDisk":
        return;
      default:
        effect satisfies never;
    }
  }

  #recorded(attempt: string): void {
    const deeds = this.#deeds.get(attempt);
    if (deeds === undefined || deeds.bootsAtMark !== undefined) return;
    deeds.bootsAtMark = this.#bootsBegun;
    deeds.marked = this.#world.hypervisor.running;
  }

  #starts(attempt: string): void {
    const { hypervisor } = this.#world;
    const deeds = this.#deeds.get(attempt);
    if (deeds === undefined || hypervisor.running !== undefined) return;
    const { reason } = hypervisor.domain;
    const whenSaved = this.#world.api.stored?.spec.restartPolicy.whenSaved;
    if (this.#sawTheLatest && isHeld(reason) && !(reason === "Saved" && whenSaved !== "Block")) {
      this.fail("what is saved or migrated away is not started", hypervisor.domain.reason);
    }
    // A guest that obeys a failed attempt too late is the one exception; an operator's button looks the same.
    const last = hypervisor.boots.at(-1);
    // And a libvirtd that was restarted does not know how it ended.
    const mayHaveObeyed = last?.end === "Shutdown" || hypervisor.domain.reason === "Unknown";
    // A reset, too, ends in off while the boot is marked.
    const wasAsked = (last?.signals ?? 0) > 0 || this.#anyOf("an operator resets it");
    const isLate = mayHaveObeyed && wasAsked;
    const isSettled = hypervisor.nextMark?.attempt === attempt && hypervisor.nextMark.result !== undefined;
    if (isSettled && !isLate && !this.#anyOf(...refusals))
      this.fail("an attempt whose result is on the domain starts nothing", "it did");
    deeds.started += 1;
    const faulty = this.#hadToForget() || this.#anyOf(...refusals, ...lostEffects);
    if (deeds.started > 1 && !faulty)
      this.fail("an attempt starts at most one boot", `it started ${deeds.started}`);
  }

  #settles(attempt: string): void {
    const deeds = this.#deeds.get(attempt);
    if (deeds !== undefined) deeds.settled = true;
  }

  #mustBeOnRecord(attempt: string, running: Boot, invariant: string): void {
    if (this.#deeds.get(attempt)?.recordIn === "Status") {
      this.#mustBeInStatus(attempt, invariant);
      return;
    }
    if (!this.#sawTheLatest) return;
    if (!running.bootMarks.has(attempt)) this.fail(invariant, "the boot does not carry the mark");
    const { nextMark } = this.#world.hypervisor;
    if (nextMark?.attempt !== attempt) this.fail(invariant, "the configuration does not carry the mark");
  }

  #mustBeInStatus(attempt: string, invariant: string): void {
    const { stored } = this.#world.api;
    // A resource that is gone takes its record with it, and so does a backup.
    if (stored === undefined || this.#anyOf("the resource is deleted", restoredBackup)) return;
    // An effect that is late may come when the next holder has ended the attempt.
    if (this.#anyOf(...this.#lostLeases)) return;
    if (stored.status.attempt?.id !== attempt) this.fail(invariant, "the status does not have the attempt");
  }

  /** Between a look and an effect lies one round trip, in which others may act: nothing can close that gap. */
  get #sawTheLatest(): boolean {
    const others = [...this.#disturbances].filter((name) => !this.#lostLeases.has(name));
    const mayBeLate = this.#anyOf(...this.#lostLeases) && this.#anyOf(...others);
    return !mayBeLate && !this.#happenings.has("libvirt becomes slow");
  }

  #bootEnded(boot: Boot): void {
    this.#stoppedAtMs = this.#world.timeline.now().monotonicMs;
    this.onEffect(() => `boot ${this.#world.hypervisor.boots.length} ends: ${boot.end} by ${boot.endedBy}`);
    this.#endedBy(boot.endedBy);
  }

  #rebooted(by: Actor): void {
    this.onEffect(() => `boot ${this.#world.hypervisor.boots.length} is rebooted in place by ${by}`);
    // A signal that is sent again in the very moment in which the guest reboots, or that is late, can reach the new boot.
    if (this.#sawTheLatest && !this.#anyOf(...this.#lostLeases)) this.#endedBy(by);
  }

  #endedBy(actor: Actor | undefined): void {
    const deeds = this.#deeds.get(actor ?? "");
    if (deeds !== undefined) deeds.ended += 1;
  }

  #of(attempt: Attempt): Deeds {
    const { id, request } = attempt;
    const known = this.#deeds.get(id);
    if (known !== undefined) return known;
    const deeds: Deeds = {
      request: `${nameOf(request)} of ${this.#world.api.stored?.metadata.uid ?? "a deleted resource"}, baseline ${this.#baselines}`,
      recordIn: attempt.recordIn,
      inPlace: false,
      marked: undefined,
      ended: 0,
      started: 0,
      bootsAtMark: undefined,
      settled: false,
    };
    this.#deeds.set(id, deeds);
    return deeds;
  }
}

function nameOf({ restartGeneration, restartToken }: RestartRequest): string {
  return `generation ${restartGeneration ?? "-"}, token ${restartToken ?? "-"}`;
}

function isHeld(reason: string): boolean {
  return reason === "Saved" || reason === "Migrated";
}
