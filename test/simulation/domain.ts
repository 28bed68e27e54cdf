import type {
  Comparison,
  Domain,
  DomainReference,
  Effect,
  Glance,
  Hypervisor,
  Job,
  Look,
  Outcome,
  Question,
  RequestMark,
  Unreachable,
} from "../../controller/ports.ts";
import type { Repair } from "../../controller/finding.ts";
import { rebootBurstMs } from "../../controller/boot.ts";
import { ModelHost, type StartedWith } from "./host.ts";
import type { Timeline } from "./timeline.ts";

/** How the model's guest answers the power button and its agent. */
export type Guest = (
  | { kind: "Obeys"; afterMs: number }
  | { kind: "Deaf" }
  /** Answers by rebooting instead of powering off. */
  | { kind: "Reboots"; afterMs: number }
) & {
  /**
   * How its agent does: it is connected some time after each boot, if at all; absent: there is no channel for one.
   * `goesFirst`: it is gone with its guest before libvirt has answered, which says then that it failed.
   */
  agent?:
    | { connectedAfterMs: number | undefined; answers: boolean; obeys: boolean; goesFirst?: boolean }
    | undefined;
  /** Sleeps on when it is woken up. */
  sleepsOn?: boolean | undefined;
};

/** How long after a boot's start or reset something happens to it, in milliseconds. */
const resetMs = 170;

/** Who did something to the domain: an attempt by its name, or somebody else. */
export type Actor = string;
export const operator: Actor = "operator";

/** How a boot can end, as the reason of the domain that is off tells it. */
export type End =
  | "Shutdown"
  | "Destroyed"
  | "Crashed"
  | "Saved"
  | "Migrated"
  | "Failed"
  | "FromSnapshot"
  | "Daemon";

/** What a reboot and a poweroff by the guest lead to, as the domain's XML says; QEMU has no other actions. */
export interface LifecycleActions {
  onReboot: "restart" | "destroy";
  onPoweroff: "destroy" | "restart";
}

/** One boot of the model's domain, from start to end. */
export interface Boot {
  readonly startedBy: Actor;
  readonly startedAtMs: number;
  /** Attempts whose mark it carries. */
  readonly bootMarks: Set<string>;
  requestMark: RequestMark | undefined;
  startedWith: StartedWith;
  onReboot: LifecycleActions["onReboot"];
  onPoweroff: LifecycleActions["onPoweroff"];
  /** How often its power button was pressed, or its agent was asked. */
  signals: number;
  /** The boots within it: one more at each reboot in place, by whom. */
  readonly inPlace: { by: Actor; atMs: number }[];
  /** Whether the last press of the button was meant to reboot it. */
  rebootsOnPoweroff: boolean;
  /** How many reboots in place it had seen when it began to obey: it does that once in each of them. */
  obeysSince?: number | undefined;
  /** What ended it; undefined while it runs. */
  end?: End | undefined;
  endedBy?: Actor | undefined;
}

/** What the next call of an effect's kind answers; with `applied`, after having done it. */
export type Fault = Exclude<Outcome, { kind: "Done" }> & { applied?: boolean };

/**
 * A model of one libvirt domain with a guest in it, as far as a restart can tell: what survives which end of a
 * boot is as it was measured on libvirt 9.0.0 with QEMU.
 */
export class ModelHypervisor implements Hypervisor {
  readonly boots: Boot[] = [];
  readonly effects: Effect["kind"][] = [];
  /** What a start needs, and what it starts. */
  readonly host = new ModelHost();
  guest: Guest = { kind: "Obeys", afterMs: 200 };
  persistent = true;
  exists = true;
  #reachable = true;
  /** What is told of it while it is not. */
  outage: Omit<Unreachable, "kind"> = {
    reason: "HypervisorUnreachable",
    message: "cannot connect to libvirt",
  };
  /** The actions of the persistent configuration, which each boot begins with. */
  actions: LifecycleActions = { onReboot: "restart", onPoweroff: "destroy" };
  /** What libvirt is doing with the domain. */
  job: Job | undefined;
  /** Why its disks cannot be read. */
  storageProblem: string | undefined;
  /** Whether its process does not answer any more: it can still be destroyed and defined. */
  hangs = false;
  /** What libvirt says to the definition of a domain that is not there; undefined where it takes it. */
  refusesToDefine: string | undefined;
  /** Whether the controller may write the domain's metadata. */
  mayMark = true;
  /** Who performs the effects that come now. */
  actor: Actor = "controller";
  /** Faults that wait for their effect, first come first served. */
  readonly faults: { effect: Effect["kind"]; fault: Fault }[] = [];
  /** What somebody else does in the last moment. */
  beforeEffect: (effect: Effect["kind"]) => void = () => {};
  /** Told of every effect before it is done, and of every boot that has ended. */
  beforePerform: (effect: Effect) => void = () => {};
  onEnd: (boot: Boot) => void = () => {};
  /** Told of every reboot in place. */
  onReboot: (boot: Boot, by: Actor) => void = () => {};
  /** Told of every lifecycle event. */
  onEvent: () => void = () => {};
  #domain: Domain;
  #nextMark: RequestMark | undefined;
  #nextId = 1;
  readonly #timeline: Timeline;

  constructor(timeline: Timeline, name: string) {
    this.#timeline = timeline;
    this.#domain = {
      uuid: "00000000-0000-4000-8000-000000000001",
      name,
      state: "Shutoff",
      reason: "Unknown",
      connection: 1,
    };
  }

  /** The boot that runs now. */
  get running(): Boot | undefined {
    const last = this.boots.at(-1);
    return last?.end === undefined ? last : undefined;
  }

  /** The domain as it is. */
  get domain(): Domain {
    return { ...this.#domain };
  }

  /** The request mark of the persistent configuration. */
  get nextMark(): RequestMark | undefined {
    return this.#nextMark;
  }

  glance(_reference: DomainReference, comparison?: Comparison): Promise<Glance> {
    const absence = this.#absence();
    if (absence !== undefined) return Promise.resolve(absence);
    const next = comparison && this.host.nextStart(comparison, this.running?.startedWith);
    return Promise.resolve({ kind: "Present", domain: { ...this.#domain }, next });
  }

  look(_reference: DomainReference, { attempt, jobs, agent, comparison }: Question): Promise<Look> {
    const absence = this.#absence();
    if (absence !== undefined)
      return Promise.resolve(
        absence.kind === "Missing" && comparison?.blueprint.definition !== undefined
          ? { ...absence, next: this.host.nextStart(comparison, undefined) }
          : absence,
      );
    const live = this.running?.requestMark;
    const next = this.#nextMark;
    const marked = attempt ?? next?.attempt;
    const bootMark = marked !== undefined && this.running?.bootMarks.has(marked) === true;
    const { persistent, job } = this;
    const isAnswered = agent !== undefined && this.#agentAnswers();
    return Promise.resolve({
      kind: "Present",
      domain: { ...this.#domain },
      persistent,
      marks: { bootMark, live, next },
      job: jobs === true && this.running !== undefined ? job : undefined,
      storageProblem: this.#domain.reason === "IOError" ? this.storageProblem : undefined,
      next: comparison && this.host.nextStart(comparison, this.running?.startedWith),
      agent: isAnswered ? { bootId: agent === "BootID" ? this.#bootId() : undefined } : undefined,
    });
  }

  perform(_domain: Domain, effect: Effect): Promise<Outcome> {
    this.effects.push(effect.kind);
    this.beforeEffect(effect.kind);
    this.beforePerform(effect);
    if (!this.reachable) return Promise.resolve({ kind: "NotSent", message: "cannot connect to libvirt" });
    const planned = this.faults.findIndex((one) => one.effect === effect.kind);
    const fault = planned < 0 ? undefined : this.faults.splice(planned, 1)[0]?.fault;
    if (fault === undefined) return Promise.resolve(this.#apply(effect));
    if (fault.applied === true) this.#apply(effect);
    const { applied: _applied, ...outcome } = fault;
    return Promise.resolve(outcome);
  }

  repair(repair: Repair): Promise<Outcome> {
    return this.perform(this.domain, { kind: "Repair", repair });
  }

  defineNew(_reference?: DomainReference, definition?: string): Promise<Outcome> {
    this.host.define(definition);
    this.define();
    return Promise.resolve({ kind: "Done" });
  }

  /** Somebody defines it (again), and libvirt tells of it. */
  define(): void {
    this.exists = true;
    this.persistent = true;
    this.#domain.lastDefined = this.#timeline.now();
    this.onEvent();
  }

  /** Somebody starts the domain, as `virsh start` does: a saved boot goes on, under another ID. */
  start(by: Actor = operator, without: readonly string[] = []): Outcome {
    if (this.running !== undefined || !this.exists) return refused("domain is already running");
    const refusal = this.host.refusalToStart(without);
    if (refusal !== undefined) {
      // libvirt forgets by it why the domain was off.
      this.#set({ state: "Shutoff", reason: "Failed" });
      return refused(refusal);
    }
    const saved = this.#domain.reason === "Saved" && by === operator ? this.boots.at(-1) : undefined;
    if (saved === undefined) this.#boot(by, without);
    else saved.end = undefined;
    this.#agentComes(0);
    this.#set({ state: "Running", reason: saved === undefined ? "Booted" : "Restored", id: this.#nextId });
    this.#nextId += 1;
    return { kind: "Done" };
  }

  /** The running boot ends. */
  stop(end: End, by: Actor = operator): Outcome {
    const boot = this.running;
    if (boot === undefined) return refused("domain is not running");
    boot.end = end;
    boot.endedBy = by;
    this.onEnd(boot);
    this.#domain.lastStop = this.#timeline.now();
    this.job = undefined;
    this.hangs = false;
    if (!this.persistent) this.exists = false;
    this.#set({ state: "Shutoff", reason: end });
    return { kind: "Done" };
  }

  /** The guest goes off while libvirtd is away, which finds its process gone: it tells nobody, and calls that a crash. */
  findGone(): void {
    this.restartDaemon();
    const { lastStop } = this.#domain;
    this.stop("Crashed");
    this.#domain.lastStop = lastStop;
  }

  /** Somebody presses the power button, or asks the agent; `reboot`: and means it to reboot. */
  signal(by: Actor = operator, options: { agent?: boolean; reboot?: boolean } = {}): Outcome {
    const { agent = false, reboot = false } = options;
    const boot = this.running;
    if (boot === undefined || !this.#hears()) return refused("domain is not running");
    const { guest } = this;
    if (agent && this.#domain.agent !== "Connected") return refused("guest agent is not connected");
    boot.signals += 1;
    if (agent && guest.agent?.obeys !== true)
      return { kind: "Unanswered", message: "the agent does not answer" };
    if (agent && !reboot && guest.agent?.goesFirst === true) {
      this.#powerOff(boot, by);
      return { ...refused("the agent is gone"), cause: "Failed" };
    }
    if (!agent) boot.rebootsOnPoweroff = reboot;
    if ((guest.kind === "Deaf" && !agent) || boot.obeysSince === boot.inPlace.length) return { kind: "Done" };
    const reboots = boot.inPlace.length;
    boot.obeysSince = reboots;
    const afterMs = guest.kind === "Deaf" ? 500 : guest.afterMs;
    this.#timeline.after(afterMs, () => {
      // What was asked before a reset is forgotten.
      if (boot.inPlace.length !== reboots) return;
      if (agent && reboot) this.#reboot(boot, by);
      else if (agent || guest.kind !== "Reboots") this.#powerOff(boot, by);
      else this.#reboot(boot, by);
    });
    return { kind: "Done" };
  }

  /** Somebody presses the reset button. */
  reset(by: Actor = operator): Outcome {
    const boot = this.running;
    if (boot === undefined) return refused("domain is not running");
    this.#reboot(boot, by);
    return { kind: "Done" };
  }

  pause(reason = "User"): void {
    if (this.#domain.state === "Running") this.#set({ state: "Paused", reason, id: this.#domain.id });
  }

  resume(): Outcome {
    if (this.#domain.state !== "Paused") return refused("domain is not paused");
    const stays = this.#domain.reason === "IOError" && this.storageProblem !== undefined;
    this.#set({ state: "Running", reason: "Unpaused", id: this.#domain.id });
    if (stays) this.#timeline.after(50, () => this.pause("IOError"));
    return { kind: "Done" };
  }

  /** The guest suspends itself to memory. */
  sleep(): void {
    if (this.#domain.state === "Running")
      this.#set({ state: "PMSuspended", reason: "Unknown", id: this.#domain.id });
  }

  wake(): Outcome {
    if (this.#domain.state !== "PMSuspended") return refused("domain is not suspended");
    if (this.guest.sleepsOn !== true) this.#set({ state: "Running", reason: "Wakeup", id: this.#domain.id });
    return { kind: "Done" };
  }

  /** Something happens to the domain later. */
  after(delayMs: number, happen: () => void): void {
    this.#timeline.after(delayMs, happen);
  }

  /** libvirt tells of another state of the domain that runs. */
  enter(state: Domain["state"], reason = "Unknown"): void {
    if (this.running !== undefined) this.#set({ state, reason, id: this.#domain.id });
  }

  /** The guest crashes, and its domain is kept for a look at it. */
  panic(): void {
    if (this.#domain.state === "Running")
      this.#set({ state: "Crashed", reason: "Panicked", id: this.#domain.id });
  }

  /** The guest crashes, and libvirt resets it: on_crash is restart. */
  panicAndReset(): void {
    const boot = this.running;
    if (boot !== undefined && this.#domain.state === "Running") this.#beginInPlace(boot, operator);
  }

  /** libvirt begins or ends something with the domain. */
  setJob(job: Job | undefined): void {
    this.job = this.running === undefined ? undefined : job;
    this.onEvent();
  }

  /** Somebody undefines the domain: one that runs goes on as a transient one, without a configuration. */
  undefine(): void {
    this.#nextMark = undefined;
    this.host.forget();
    if (this.running === undefined) this.exists = false;
    else this.persistent = false;
    this.onEvent();
  }

  /** Somebody reverts to a snapshot that was taken before any restart: the boot runs on without its marks. */
  revert(): void {
    const boot = this.running;
    if (boot === undefined) return;
    boot.bootMarks.clear();
    boot.requestMark = undefined;
    Object.assign(boot, this.actions);
    this.#set({ state: "Running", reason: "FromSnapshot", id: this.#domain.id });
  }

  /** Whether libvirt can be asked, and tells of what happens; when it is back, that is another connection. */
  get reachable(): boolean {
    return this.#reachable;
  }

  set reachable(isReachable: boolean) {
    if (isReachable && !this.#reachable) this.#connectAnew();
    this.#reachable = isReachable;
  }

  /** The connection was lost and is back: events may have been missed. */
  reconnect(): void {
    this.#connectAnew();
    this.onEvent();
  }

  #connectAnew(): void {
    this.#domain = { ...this.#domain, connection: this.#domain.connection + 1 };
  }

  /** libvirtd was restarted: IDs are given out anew, and the reason of a domain that is off is forgotten. */
  restartDaemon(): void {
    this.#nextId = 1;
    this.#connectAnew();
    if (this.running === undefined && this.#domain.reason !== "Saved") {
      this.#set({ state: "Shutoff", reason: "Unknown" });
    }
  }

  #boot(startedBy: Actor, without: readonly string[]): void {
    const requestMark = this.#nextMark;
    const startedAtMs = this.#timeline.now().monotonicMs;
    const bootMarks = new Set<string>();
    this.boots.push({
      startedBy,
      startedAtMs,
      bootMarks,
      requestMark,
      startedWith: { configuration: this.host.configuration, without },
      ...this.actions,
      signals: 0,
      inPlace: [],
      rebootsOnPoweroff: false,
    });
  }

  /** libvirt turns a poweroff into a reset where the button was pressed to reboot, unless a reset is to end in off. */
  #powerOff(boot: Boot, by: Actor): void {
    if (this.running !== boot) return;
    if (!this.#hears()) {
      // What a guest was asked before it was stopped it has forgotten.
      boot.obeysSince = undefined;
      return;
    }
    if (boot.rebootsOnPoweroff || boot.onPoweroff === "restart") this.#reboot(boot, by);
    else this.stop("Shutdown", by);
  }

  /** Whether the guest can hear a signal: Blocked is Xen's word for one that is idle. */
  #hears(): boolean {
    return this.#domain.state === "Running" || this.#domain.state === "Blocked";
  }

  #reboot(boot: Boot, by: Actor): void {
    if (this.running !== boot || this.#domain.id === undefined) return;
    if (boot.onReboot === "destroy") {
      this.stop("Shutdown", by);
      return;
    }
    this.#beginInPlace(boot, by);
  }

  #beginInPlace(boot: Boot, by: Actor): void {
    boot.rebootsOnPoweroff = false;
    boot.inPlace.push({ by, atMs: this.#timeline.now().monotonicMs });
    this.onReboot(boot, by);
    this.#agentComes(resetMs);
    this.#tellReboot();
    // libvirt tells of a reset twice where the domain has a channel.
    if (this.guest.agent !== undefined) this.#timeline.after(40, () => this.#tellReboot());
  }

  #tellReboot(): void {
    const now = this.#timeline.now();
    const first = this.#domain.lastReboot;
    const isFirst = first === undefined || now.monotonicMs > first.monotonicMs + rebootBurstMs;
    if (isFirst && this.#reachable) this.#domain.lastReboot = now;
    this.onEvent();
  }

  /** The agent is there some time after the boot began; until then it is not. */
  #agentComes(delayMs: number): void {
    const { agent } = this.guest;
    this.#domain.agent = agent === undefined ? undefined : "Disconnected";
    if (agent?.connectedAfterMs === undefined) return;
    const boot = this.running;
    const generation = boot?.inPlace.length;
    this.#timeline.after(delayMs + agent.connectedAfterMs, () => {
      if (this.running !== boot || boot?.inPlace.length !== generation) return;
      this.#domain.agent = "Connected";
      this.onEvent();
    });
  }

  #agentAnswers(): boolean {
    const { state, agent } = this.#domain;
    return state === "Running" && agent === "Connected" && this.guest.agent?.answers === true;
  }

  #bootId(): string {
    return `boot-${this.boots.length}-${this.running?.inPlace.length}`;
  }

  #absence(): (Glance & { kind: "Unreachable" | "Missing" }) | undefined {
    if (!this.reachable) return { kind: "Unreachable", ...this.outage };
    return this.exists ? undefined : { kind: "Missing" };
  }

  #apply(effect: Effect): Outcome {
    if (this.hangs && this.running !== undefined && waitsForDomain(effect))
      return { ...refused("cannot acquire state change lock"), cause: "Busy" };
    switch (effect.kind) {
      case "Mark":
        return this.#mark(effect);
      case "Shutdown":
        return this.signal(this.actor, { agent: effect.signal === "Agent" });
      case "Reboot":
        return this.signal(this.actor, { agent: effect.signal === "Agent", reboot: true });
      case "Destroy":
        return this.stop("Destroyed", this.actor);
      case "Reset":
        return this.reset(this.actor);
      case "Wake":
        return this.wake();
      case "Resume":
        return this.resume();
      case "Start":
        return this.start(this.actor, effect.without);
      case "Settle": {
        const { definition, result } = effect.mark;
        const outcome = this.#writeNextMark(effect.mark);
        const isProven = definition === "Applied" && result === "Succeeded";
        if (isProven && outcome.kind === "Done") this.host.forget();
        return outcome;
      }
      case "Release":
        if (this.running !== undefined) Object.assign(this.running, this.actions);
        return { kind: "Done" };
      case "Repair":
        return this.host.repair(effect.repair);
      case "Define":
        if (this.refusesToDefine !== undefined) return refused(this.refusesToDefine);
        this.host.define(effect.definition);
        this.define();
        return { kind: "Done" };
      case "RollBack": {
        const outcome = this.host.rollBack();
        return outcome.kind === "Done" ? this.#writeNextMark(effect.mark) : outcome;
      }
      case "AttachDisk":
        return this.#attach(effect.disk);
      default:
        return effect satisfies never;
    }
  }

  #attach(disk: string): Outcome {
    const boot = this.running;
    const isLacking = this.host.lacks.some((lack) => lack.disk === disk);
    if (boot === undefined || isLacking || this.host.unpluggable.has(disk)) return refused("cannot hot plug");
    boot.startedWith = {
      ...boot.startedWith,
      without: boot.startedWith.without.filter((one) => one !== disk),
    };
    this.onEvent();
    return { kind: "Done" };
  }

  #mark({ mark, running }: Effect & { kind: "Mark" }): Outcome {
    if (!this.mayMark) return { ...refused("access denied"), cause: "Denied" };
    if (running) {
      if (this.running === undefined) return refused("domain is not running");
      this.running.bootMarks.add(mark.attempt);
      const inOff: LifecycleActions = { onReboot: "destroy", onPoweroff: "destroy" };
      Object.assign(this.running, mark.inPlace === true ? this.actions : inOff);
    }
    return this.#writeNextMark(mark);
  }

  #writeNextMark(mark: RequestMark): Outcome {
    if (!this.mayMark) return { ...refused("access denied"), cause: "Denied" };
    if (!this.persistent) return refused("transient domains do not have any persistent config");
    this.#nextMark = mark;
    return { kind: "Done" };
  }

  #set({ state, reason, id }: { state: Domain["state"]; reason: string; id?: number | undefined }): void {
    const agent = id === undefined ? undefined : this.#domain.agent;
    this.#domain = { ...this.#domain, state, reason, id, agent };
    this.onEvent();
  }
}

/** Defining a domain, and mending its host, does not wait for whatever holds it. */
function waitsForDomain({ kind }: Effect): boolean {
  return !["Destroy", "Define", "Repair"].includes(kind);
}

function refused(message: string): Outcome & { kind: "Refused" } {
  return { kind: "Refused", message };
}
