import type { VirtualMachine, VirtualMachineStatus } from "../crds/virtual-machine.ts";
import { afterEffect, type Attempt } from "./attempt.ts";
import { decide } from "./decide.ts";
import type { Decision, Observation, Verdict } from "./decision.ts";
import { disturbsGuest } from "./disturbance.ts";
import { isOwedWithoutLease } from "./lost-lease.ts";
import { noticeOf } from "./notice.ts";
import { domainReference } from "./domain-reference.ts";
import { hasMarks, type Domain, type Effect, type Glance, type Key, type Look, type Ports } from "./ports.ts";
import { readTriggers, withServedBefore } from "./request.ts";
import { computeStatus } from "./status.ts";

/** When a key wants to be looked at again without an event; undefined: never. On the monotonic clock. */
export type Again = { atMs: number } | undefined;

/** What this process knows of one resource beyond what the API server has. */
interface Memory {
  virtualMachine: VirtualMachine;
  /** The status as last computed: ahead of the API server's while a write is under way. */
  status: VirtualMachineStatus;
  attempt: Attempt | undefined;
  /** Whether the previous holder of the lease could still act on the domain when this was decided. */
  isTentative: boolean;
  /** The power in which the domain's marks were last read; undefined: this process has not read them yet. */
  marksReadIn: Power | undefined;
}

type Power = "On" | "Off";

/** More passes in a row than any path of a restart takes; a key that wants more rests before it goes on. */
const mostPasses = 16;
const restMs = 1000;

/** The loop: observe, decide, record, act, until there is nothing to do but wait. */
export class Reconciler {
  readonly #ports: Ports;
  readonly #memory = new Map<Key, Memory>();
  #ending = false;

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  /** Brings one resource as far as it goes now. One call per key at a time. */
  async reconcile(key: Key): Promise<Again> {
    for (let pass = 0; pass < mostPasses; pass += 1) {
      const observation = await this.#observe(key);
      if (observation === undefined) {
        this.#memory.delete(key);
        return undefined;
      }
      const decision = decide(observation);
      // Neither a status nor an Event may tell of what is not done.
      if (!this.#mayCarryOut(observation, decision)) return againAfter(decision.verdict);
      this.#ports.journal.decided(key, decision);
      this.#record(key, observation, decision);
      const again = await this.#act(key, observation, decision);
      if (again !== "Now") return this.#onceAlone(again);
    }
    return { atMs: this.#ports.clock.now().monotonicMs + restMs };
  }

  /**
   * From now on nothing new is done to any guest, but one that this process has stopped is still started. What
   * is left of a restart is the next process's.
   */
  end(): void {
    this.#ending = true;
  }

  /** Keys whose resource is gone in the middle of a restart: no list of resources names them any more. */
  orphans(): Key[] {
    const { virtualMachines } = this.#ports;
    const isOrphan = ([key, { attempt }]: [Key, Memory]) =>
      attempt?.touched === true && virtualMachines.get(key) === undefined;
    return [...this.#memory].filter(isOrphan).map(([key]) => key);
  }

  /** How many restarts this process has under way. */
  get attempts(): number {
    return [...this.#memory.values()].filter(({ attempt }) => attempt !== undefined).length;
  }

  /** No event tells of a mark that the previous holder of the lease sent and that was written late. */
  #onceAlone(again: Again): Again {
    const { lease, clock } = this.#ports;
    const { predecessorGoneAtMs } = lease;
    if (clock.now().monotonicMs >= predecessorGoneAtMs) return again;
    return { atMs: Math.min(again?.atMs ?? predecessorGoneAtMs, predecessorGoneAtMs) };
  }

  /** Asked immediately before the effect: between the two nothing is waited for. */
  #mayCarryOut(observation: Observation, decision: Decision): boolean {
    const { verdict } = decision;
    if (this.#ending && verdict.kind === "Act" && disturbsGuest(verdict.effect)) return false;
    const { lease } = this.#ports;
    return lease.isHeld() || isOwedWithoutLease(observation, decision, lease);
  }

  async #observe(key: Key): Promise<Observation | undefined> {
    const { virtualMachines, lease, clock } = this.#ports;
    const memory = this.#remember(key, virtualMachines.get(key));
    if (memory === undefined) return undefined;
    const { virtualMachine } = memory;
    // Who began it may have put its result on the domain since: the domain is asked once more what it remembers.
    const attempt = memory.isTentative && memory.attempt?.isInherited === true ? undefined : memory.attempt;
    const domain = await this.#lookAt({ ...memory, attempt });
    const rivals = domain.kind === "Present" ? this.#rivals(virtualMachine, domain.domain) : [];
    // What this process has begun itself it knows better than the mark that it wrote then.
    const isNews = hasMarks(domain) && domain.marks.next?.attempt !== attempt?.id;
    const told = isNews ? withServedBefore(virtualMachine, domain.marks.next) : virtualMachine;
    return {
      virtualMachine: told,
      domain,
      rivals,
      attempt,
      predecessorGoneAtMs: lease.predecessorGoneAtMs,
      now: clock.now(),
      nonce: clock.nonce(),
    };
  }

  /** An idle resource is told by what is known already; the marks are asked for where they can matter. */
  async #lookAt({ virtualMachine, attempt, marksReadIn }: Memory): Promise<Glance | Look> {
    const { hypervisor, clock } = this.#ports;
    const reference = domainReference(virtualMachine);
    // An attempt that waits has marked nothing: what matters is what an earlier one has left.
    if (attempt !== undefined) return hypervisor.look(reference, attempt.marked ? attempt.id : undefined);
    const seen = await hypervisor.glance(reference);
    if (seen.kind !== "Present") return seen;
    // A start may be owed of which nothing but the domain tells: the status was lost and the trigger is gone.
    const isNews = marksReadIn !== powerOf(seen.domain);
    const isAsked = mayBeBusy(virtualMachine, clock.now().epochMs);
    return isNews || isAsked ? hypervisor.look(reference, undefined) : seen;
  }

  #rivals({ metadata }: VirtualMachine, domain: Domain): VirtualMachine[] {
    return this.#ports.virtualMachines.naming(domain).filter((one) => one.metadata.uid !== metadata.uid);
  }

  /**
   * The resource with the status that this process computed last. A resource that was deleted in the middle of
   * a restart is remembered until the restart has ended: its guest is started again.
   */
  #remember(key: Key, seen: VirtualMachine | undefined): Memory | undefined {
    const known = this.#memory.get(key);
    if (seen === undefined) return known?.attempt?.touched === true ? known : undefined;
    if (known === undefined || known.virtualMachine.metadata.uid !== seen.metadata.uid) {
      const nothing = { attempt: undefined, isTentative: false, marksReadIn: undefined };
      return { virtualMachine: seen, status: seen.status, ...nothing };
    }
    return { ...known, virtualMachine: { ...seen, status: known.status } };
  }

  #record(key: Key, observation: Observation, decision: Decision): void {
    const { virtualMachines } = this.#ports;
    const { virtualMachine } = observation;
    const status = computeStatus(observation, decision);
    const attempt = decision.verdict.kind === "End" ? undefined : decision.attempt;
    const marksReadIn = marksReadNow(observation, decision) ?? this.#memory.get(key)?.marksReadIn;
    const isTentative = observation.now.monotonicMs < observation.predecessorGoneAtMs;
    this.#memory.set(key, { virtualMachine, status, attempt, isTentative, marksReadIn });
    // A status that the effect replaces as soon as it returns is not worth a write.
    if (decision.verdict.kind === "Act" && !decision.verdict.announce) return;
    virtualMachines.writeStatus(virtualMachine, status);
    const notice = noticeOf(decision, virtualMachine.status);
    if (notice !== undefined) virtualMachines.publish(virtualMachine, notice);
  }

  async #act(key: Key, observation: Observation, { verdict, attempt }: Decision): Promise<Again | "Now"> {
    switch (verdict.kind) {
      case "Rest":
      case "Blocked":
      case "Unavailable":
      case "Wait":
        return againAfter(verdict);
      case "Rebase":
      case "End":
        return "Now";
      case "Act":
        if (attempt !== undefined) await this.#perform(key, observation, attempt, verdict.effect);
        return "Now";
      default:
        return verdict satisfies never;
    }
  }

  async #perform(key: Key, { domain }: Observation, attempt: Attempt, effect: Effect): Promise<void> {
    if (domain.kind !== "Present") return;
    const { hypervisor, clock, journal } = this.#ports;
    const began = clock.now();
    const outcome = await hypervisor.perform(domain.domain, effect);
    const now = clock.now();
    journal.performed({
      key,
      attempt: attempt.id,
      domain: domain.domain,
      effect,
      outcome,
      began,
      ended: now,
    });
    const memory = this.#memory.get(key);
    if (memory !== undefined) memory.attempt = afterEffect(attempt, effect, outcome, now);
  }
}

/** When an event may not come before it is time. */
function againAfter(verdict: Verdict): Again {
  return "untilMs" in verdict && verdict.untilMs !== undefined ? { atMs: verdict.untilMs } : undefined;
}

function powerOf({ id }: Domain): Power {
  return id === undefined ? "Off" : "On";
}

/** An attempt that ends with its domain off is looked at once more: its guest may have gone off in the last moment. */
function marksReadNow(
  { domain, predecessorGoneAtMs, now }: Observation,
  { verdict }: Decision,
): Power | undefined {
  if (!hasMarks(domain) || now.monotonicMs < predecessorGoneAtMs) return undefined;
  return verdict.kind === "End" ? "On" : powerOf(domain.domain);
}

/** Whether a resource without an attempt in this process asks for one, or had one when its status was written. */
function mayBeBusy(virtualMachine: VirtualMachine, epochMs: number): boolean {
  if (virtualMachine.status.attempt !== undefined) return true;
  const { kind } = readTriggers(virtualMachine, epochMs);
  return kind === "Requested" || kind === "Cancelled";
}
