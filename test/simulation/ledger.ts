import type { RestartRequest } from "../../crds/restart.ts";
import type { Decision, Verdict } from "../../controller/decision.ts";
import type { Attempt, RecordPlace } from "../../controller/attempt.ts";
import type { Effect } from "../../controller/ports.ts";
import type { Actor, Boot } from "./domain.ts";
import type { World } from "./world.ts";

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
  /** How many boots it ended, by a stop or by a reboot in place. */
  ended: number;
  started: number;
  /** How many boots had begun then, reboots in place among them; undefined before. */
  bootsAtMark: number | undefined;
  /** Whether its result is on the domain. */
  settled: boolean;
}

type Ended = Verdict & { kind: "End" };

/** How a restart may fail although nobody disturbs it: its guest, or its guest's agent, does not answer. */
const deafReasons = new Set(["GuestShutdownTimedOut", "GuestNotReady", "AgentNotConnected"]);

/** How long after a failure a guest that goes off is still ours to start, in milliseconds; some seconds less. */
const lateMs = 590_000;

/** What keeps an effect from being carried out, however often it is tried. */
const lostEffects = [
  "libvirt refuses an effect",
  "an effect's answer is lost",
  "its process stops answering",
];

const restoredBackup = "an older backup of the API server is restored";

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
  /** A restored backup can bring a generation up again that was lowered since: that is another request. */
  #restores = 0;
  /** How often each generation was lowered to. */
  readonly #lowerings = new Map<number, number>();
  #stoppedAtMs = 0;
  #failedAtMs = Number.NEGATIVE_INFINITY;
  #writesAtRest = 0;
  #effectsAtRest = 0;

  constructor(world: World, disturbances: ReadonlySet<string>) {
    this.#world = world;
    this.#disturbances = disturbances;
  }

  /** From here on the invariants hold. */
  begin(): void {
    this.#world.hypervisor.beforePerform = (effect) => this.#before(effect);
    this.#world.hypervisor.onEnd = (boot) => this.#bootEnded(boot);
    this.#world.hypervisor.onReboot = (_boot, by) => this.#rebooted(by);
    this.happened();
  }

  fail(invariant: string, how: string): void {
    this.violation ??= { invariant, how };
  }

  /** Something is about to happen. */
  happens(name: string): void {
    this.#happenings.add(name);
    if (name === restoredBackup) this.#restores += 1;
  }

  /** It has happened: new requests may be there. A generation that is lowered to can be asked for once more. */
  happened(name?: string): void {
    const { stored } = this.#world.api;
    const generation = stored?.spec.restartGeneration ?? 0;
    if (name === "restartGeneration is lowered")
      this.#lowerings.set(generation, (this.#lowerings.get(generation) ?? 0) + 1);
    const now = this.#world.timeline.now().monotonicMs;
    const names = [stored?.spec.restartGeneration, ...Object.values(stored?.metadata.annotations ?? {})];
    for (const name of names)
      if (!this.#requestedAtMs.has(String(name))) this.#requestedAtMs.set(String(name), now);
  }

  /** A decision; its results are checked against what really happened. */
  decided({ verdict, attempt }: Decision): void {
    if (attempt === undefined) return;
    const deeds = this.#of(attempt);
    deeds.recordIn = attempt.recordIn;
    if (attempt.recordIn === "Status" && attempt.marked) this.#recorded(attempt.id);
    if (verdict.kind !== "End") return;
    // Where there are no marks the status alone has the result.
    if (attempt.recordIn === "Status") deeds.settled = true;
    if (verdict.result === "Failed") this.#failedAtMs = this.#world.timeline.now().monotonicMs;
    if (verdict.result === "Succeeded") this.#succeeded(attempt, verdict, deeds);
    this.#undisturbed(verdict);
  }

  /** All has come to rest: what is owed has been done. */
  atRest(): void {
    const { api, hypervisor } = this.#world;
    this.#nobodyLeftOff();
    this.#everyRequestEnded();
    this.#onceEach();
    this.#guestLetGo();
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

  #succeeded(attempt: Attempt, { evidence }: Ended, { bootsAtMark }: Deeds): void {
    if (evidence.length === 0) this.fail("success has evidence", "a success was recorded without any");
    if (attempt.toldResult !== undefined || bootsAtMark === undefined) return;
    const { boots } = this.#world.hypervisor;
    const sentence = "success means that the old boot ended and a new one began";
    if (this.#bootsBegun <= bootsAtMark) this.fail(sentence, "no boot began since it was put on record");
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

  /** Where nobody disturbs it, the controller has no excuse. */
  #undisturbed({ result, reason }: Ended): void {
    if ([...this.#happenings].some((name) => this.#disturbances.has(name))) return;
    const isAllowed = result === "Succeeded" || result === "Skipped" || deafReasons.has(reason);
    if (!isAllowed) this.fail("undisturbed, a restart succeeds or its guest is deaf", `${result}: ${reason}`);
  }

  #nobodyLeftOff(): void {
    const { hypervisor, api } = this.#world;
    const last = hypervisor.boots.at(-1);
    const stopper = last?.end === undefined ? undefined : this.#deeds.get(last.endedBy ?? "");
    if (stopper === undefined || !hypervisor.exists || isHeld(hypervisor.domain.reason)) return;
    const status = api.stored?.status;
    if (status?.attempt !== undefined) return;
    // Without marks, what the process and the resource knew is gone with them.
    if (stopper.recordIn === "Status" && this.#hadToForget()) return;
    if (this.#mustStillBeStarted(last)) {
      this.fail("a guest that obeys after its attempt has failed is started", "it is off");
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
      "the controller is killed",
      "the controller dies at an effect",
      "the wall clock is set",
      "status writes are lost",
      "libvirt is away",
      "libvirtd is restarted",
      "an operator undefines it",
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

  /** Two attempts must not have ended a boot each for one and the same request. */
  #onceEach(): void {
    const byRequest = new Map<string, number>();
    for (const { request, ended } of this.#deeds.values()) {
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
        this.#starts(actor);
        return;
      case "Settle":
        this.#settles(effect.mark.attempt);
        return;
      case "Release":
        return;
      default:
        effect satisfies never;
    }
  }

  #recorded(attempt: string): void {
    const deeds = this.#deeds.get(attempt);
    if (deeds !== undefined) deeds.bootsAtMark ??= this.#bootsBegun;
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
    const isLate = mayHaveObeyed && last !== undefined && last.signals > 0;
    const isSettled = hypervisor.nextMark?.attempt === attempt && hypervisor.nextMark.result !== undefined;
    if (isSettled && !isLate) this.fail("an attempt whose result is on the domain starts nothing", "it did");
    deeds.started += 1;
    const faulty = this.#hadToForget() || this.#anyOf(...lostEffects);
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
    if (stored.status.attempt?.id !== attempt) this.fail(invariant, "the status does not have the attempt");
  }

  /** Between a look and an effect lies one round trip, in which others may act: nothing can close that gap. */
  get #sawTheLatest(): boolean {
    return !this.#happenings.has("libvirt becomes slow");
  }

  #bootEnded(boot: Boot): void {
    this.#stoppedAtMs = this.#world.timeline.now().monotonicMs;
    this.onEffect(() => `boot ${this.#world.hypervisor.boots.length} ends: ${boot.end} by ${boot.endedBy}`);
    this.#endedBy(boot.endedBy);
  }

  #rebooted(by: Actor): void {
    this.onEffect(() => `boot ${this.#world.hypervisor.boots.length} is rebooted in place by ${by}`);
    // A signal that is sent again in the very moment in which the guest reboots can reach the new boot.
    if (this.#sawTheLatest) this.#endedBy(by);
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
      request: [
        nameOf(request),
        `lowered to ${this.#lowerings.get(request.restartGeneration ?? 0) ?? 0} times`,
        `of ${this.#world.api.stored?.metadata.uid ?? "a deleted resource"}`,
        `restore ${this.#restores}`,
      ].join(", "),
      recordIn: attempt.recordIn,
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
