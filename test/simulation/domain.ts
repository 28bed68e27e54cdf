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

/** One boot of the model's domain, from start to end. */
export interface Boot {
  bootMarks: Set<string>;
  requestMark: RequestMark | undefined;
  onReboot: "restart" | "destroy";
  signals: number;
  /** What ended it; undefined while it runs. */
  end?: "Shutdown" | "Destroyed" | "Crashed";
}

/** What the next call of an effect's kind answers instead of doing it. */
export type Fault = Exclude<Outcome, { kind: "Done" }>;

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
  /** Faults that wait for their effect, first come first served. */
  readonly faults: { effect: Effect["kind"]; fault: Fault }[] = [];
  /** What somebody else does in the last moment. */
  beforeEffect: (effect: Effect["kind"]) => void = () => {};
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

  glance(_reference: DomainReference): Promise<Glance> {
    const absence = this.#absence();
    return Promise.resolve(absence ?? { kind: "Present", domain: { ...this.#domain } });
  }

  look(_reference: DomainReference, attempt: string | undefined): Promise<Look> {
    const absence = this.#absence();
    if (absence !== undefined) return Promise.resolve(absence);
    const live = this.running?.requestMark;
    const next = this.#nextMark;
    const marked = attempt ?? next?.attempt;
    const bootMark = marked !== undefined && this.running?.bootMarks.has(marked) === true;
    const marks = { bootMark, live, next };
    return Promise.resolve({
      kind: "Present",
      domain: { ...this.#domain },
      persistent: this.persistent,
      marks,
    });
  }

  perform(_domain: Domain, effect: Effect): Promise<Outcome> {
    this.effects.push(effect.kind);
    this.beforeEffect(effect.kind);
    const fault = this.faults.findIndex((planned) => planned.effect === effect.kind);
    if (fault >= 0) return Promise.resolve(this.faults.splice(fault, 1)[0]?.fault ?? { kind: "Done" });
    return Promise.resolve(this.#apply(effect));
  }

  /** Somebody starts the domain, as `virsh start` does. */
  start(): Outcome {
    if (this.running !== undefined) return refused("domain is already running");
    const requestMark = this.#nextMark;
    this.boots.push({ bootMarks: new Set(), requestMark, onReboot: "restart", signals: 0 });
    this.#set({ state: "Running", reason: "Booted", id: this.#nextId });
    this.#nextId += 1;
    return { kind: "Done" };
  }

  /** The running boot ends, by whomever. */
  stop(end: NonNullable<Boot["end"]>): Outcome {
    const boot = this.running;
    if (boot === undefined) return refused("domain is not running");
    boot.end = end;
    this.#domain.lastStop = this.#timeline.now();
    this.#set({ state: "Shutoff", reason: end });
    return { kind: "Done" };
  }

  pause(): void {
    this.#set({ state: "Paused", reason: "User", id: this.#domain.id });
  }

  resume(): void {
    this.#set({ state: "Running", reason: "Unpaused", id: this.#domain.id });
  }

  /** libvirtd was restarted: IDs are given out anew, and the reason of a domain that is off is forgotten. */
  restartDaemon(): void {
    this.#nextId = 1;
    if (this.running === undefined) this.#set({ state: "Shutoff", reason: "Unknown" });
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
        return this.#pressButton();
      case "Destroy":
        return this.stop("Destroyed");
      case "Start":
        return this.start();
      case "Settle":
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
    this.#nextMark = mark;
    return { kind: "Done" };
  }

  #pressButton(): Outcome {
    const boot = this.running;
    if (boot === undefined || this.#domain.state !== "Running") return refused("domain is not running");
    boot.signals += 1;
    const { guest } = this;
    if (guest.kind === "Deaf") return { kind: "Done" };
    this.#timeline.after(guest.afterMs, () => {
      if (this.running !== boot || this.#domain.state !== "Running") return;
      if (guest.kind === "Obeys" || boot.onReboot === "destroy") this.stop("Shutdown");
    });
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
