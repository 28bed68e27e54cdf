import type {
  Domain,
  DomainReference,
  Effect,
  Glance,
  Hypervisor,
  Look,
  Outcome,
  RequestMark,
} from "../../controller/ports.ts";
import type { Timeline } from "./timeline.ts";

/** How the model's guest answers the power button. */
export type Guest =
  | { kind: "Obeys"; afterMs: number }
  | { kind: "Deaf" }
  /** Answers by rebooting instead of powering off. */
  | { kind: "Reboots"; afterMs: number };

/** Who did something to the domain: an attempt by its name, or somebody else. */
export type Actor = string;
export const operator: Actor = "operator";

/** How a boot can end, as the reason of the domain that is off tells it. */
export type End = "Shutdown" | "Destroyed" | "Crashed" | "Saved" | "Migrated";

/** One boot of the model's domain, from start to end. */
export interface Boot {
  readonly startedBy: Actor;
  readonly startedAtMs: number;
  /** Attempts whose mark it carries. */
  readonly bootMarks: Set<string>;
  requestMark: RequestMark | undefined;
  onReboot: "restart" | "destroy";
  /** How often its power button was pressed. */
  signals: number;
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
  guest: Guest = { kind: "Obeys", afterMs: 200 };
  persistent = true;
  exists = true;
  reachable = true;
  /** Who performs the effects that come now. */
  actor: Actor = "controller";
  /** Faults that wait for their effect, first come first served. */
  readonly faults: { effect: Effect["kind"]; fault: Fault }[] = [];
  /** What somebody else does in the last moment. */
  beforeEffect: (effect: Effect["kind"]) => void = () => {};
  /** Told of every effect before it is done, and of every boot that has ended. */
  beforePerform: (effect: Effect) => void = () => {};
  onEnd: (boot: Boot) => void = () => {};
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
    };
  }

  /** The boot that runs now. */
  get running(): Boot | undefined {
    const last = this.boots.at(-1);
    return last?.end === undefined ? last : undefined;
  }

  /** The domain as it is. */
  get domain(): Domain {
    return this.#domain;
  }

  /** The request mark of the persistent configuration. */
  get nextMark(): RequestMark | undefined {
    return this.#nextMark;
  }

  glance(_reference: DomainReference): Promise<Glance> {
    return Promise.resolve(this.#absence() ?? { kind: "Present", domain: { ...this.#domain } });
  }

  look(_reference: DomainReference, attempt: string | undefined): Promise<Look> {
    const absence = this.#absence();
    if (absence !== undefined) return Promise.resolve(absence);
    const live = this.running?.requestMark;
    const next = this.#nextMark;
    const marked = attempt ?? next?.attempt;
    const bootMark = marked !== undefined && this.running?.bootMarks.has(marked) === true;
    const domain = { ...this.#domain };
    return Promise.resolve({
      kind: "Present",
      domain,
      persistent: this.persistent,
      marks: { bootMark, live, next },
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
    return Promise.resolve({ kind: fault.kind, message: fault.message });
  }

  /** Somebody starts the domain, as `virsh start` does: a saved boot goes on, under another ID. */
  start(by: Actor = operator): Outcome {
    if (this.running !== undefined || !this.exists) return refused("domain is already running");
    const saved = this.#domain.reason === "Saved" && by === operator ? this.boots.at(-1) : undefined;
    if (saved === undefined) this.#boot(by);
    else saved.end = undefined;
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
    if (!this.persistent) this.exists = false;
    this.#set({ state: "Shutoff", reason: end });
    return { kind: "Done" };
  }

  /** Somebody presses the power button. */
  pressButton(by: Actor = operator): Outcome {
    const boot = this.running;
    if (boot === undefined || this.#domain.state !== "Running") return refused("domain is not running");
    boot.signals += 1;
    const { guest } = this;
    if (guest.kind !== "Deaf") this.#timeline.after(guest.afterMs, () => this.#answer(boot, guest, by));
    return { kind: "Done" };
  }

  pause(): void {
    if (this.running !== undefined) this.#set({ state: "Paused", reason: "User", id: this.#domain.id });
  }

  resume(): void {
    if (this.#domain.state === "Paused")
      this.#set({ state: "Running", reason: "Unpaused", id: this.#domain.id });
  }

  /** Somebody undefines the domain: one that runs goes on as a transient one, without a configuration. */
  undefine(): void {
    this.#nextMark = undefined;
    if (this.running === undefined) this.exists = false;
    else this.persistent = false;
    this.onEvent();
  }

  /** Somebody defines it (again). */
  define(): void {
    this.exists = true;
    this.persistent = true;
    this.onEvent();
  }

  /** Somebody reverts to a snapshot that was taken before any restart: the boot runs on without its marks. */
  revert(): void {
    const boot = this.running;
    if (boot === undefined) return;
    boot.bootMarks.clear();
    boot.requestMark = undefined;
    boot.onReboot = "restart";
    this.#set({ state: "Running", reason: "FromSnapshot", id: this.#domain.id });
  }

  /** libvirtd was restarted: IDs are given out anew, and the reason of a domain that is off is forgotten. */
  restartDaemon(): void {
    this.#nextId = 1;
    if (this.running === undefined && this.#domain.reason !== "Saved") {
      this.#set({ state: "Shutoff", reason: "Unknown" });
    }
  }

  #boot(startedBy: Actor): void {
    const requestMark = this.#nextMark;
    const startedAtMs = this.#timeline.now().monotonicMs;
    const bootMarks = new Set<string>();
    this.boots.push({ startedBy, startedAtMs, bootMarks, requestMark, onReboot: "restart", signals: 0 });
  }

  #answer(boot: Boot, guest: Guest, by: Actor): void {
    if (this.running !== boot || this.#domain.state !== "Running") return;
    if (guest.kind === "Obeys" || boot.onReboot === "destroy") this.stop("Shutdown", by);
  }

  #absence(): (Glance & { kind: "Unreachable" | "Missing" }) | undefined {
    if (!this.reachable) return { kind: "Unreachable", message: "cannot connect to libvirt" };
    return this.exists ? undefined : { kind: "Missing" };
  }

  #apply(effect: Effect): Outcome {
    switch (effect.kind) {
      case "Mark":
        return this.#mark(effect);
      case "Shutdown":
        return this.pressButton(this.actor);
      case "Destroy":
        return this.stop("Destroyed", this.actor);
      case "Start":
        return this.start(this.actor);
      case "Settle":
        if (!this.persistent) return refused("transient domains do not have any persistent config");
        this.#nextMark = effect.mark;
        return { kind: "Done" };
      case "Release":
        if (this.running !== undefined) this.running.onReboot = "restart";
        return { kind: "Done" };
      default:
        return effect satisfies never;
    }
  }

  #mark({ mark, running }: Effect & { kind: "Mark" }): Outcome {
    if (running) {
      if (this.running === undefined) return refused("domain is not running");
      this.running.bootMarks.add(mark.attempt);
      this.running.onReboot = "destroy";
    }
    if (!this.persistent) return refused("transient domains do not have any persistent config");
    this.#nextMark = mark;
    return { kind: "Done" };
  }

  #set({ state, reason, id }: { state: Domain["state"]; reason: string; id?: number | undefined }): void {
    this.#domain = { ...this.#domain, state, reason, id };
    this.onEvent();
  }
}

function refused(message: string): Outcome {
  return { kind: "Refused", message };
}
