import type { VirtualMachine, VirtualMachineStatus } from "../crds/virtual-machine.ts";
import { adoptAttempt, afterEffect, questionFor, type Attempt } from "./attempt.ts";
import { decide } from "./decide.ts";
import type { Decision, Observation, Verdict } from "./decision.ts";
import { disturbsGuest } from "./disturbance.ts";
import { isOwedWithoutLease } from "./lost-lease.ts";
import { noticeOf } from "./notice.ts";
import { domainReference } from "./domain-reference.ts";
import { withKnownReason } from "./off-reason.ts";
import {
  hasMarks,
  lastMark,
  type Domain,
  type Effect,
  type Glance,
  type Key,
  type Look,
  type Ports,
  type RequestMark,
} from "./ports.ts";
import { departedOwner, readTriggers, withServedBefore } from "./request.ts";
import { computeStatus } from "./status.ts";

/** When a key wants to be looked at again without an event; undefined: never. On the monotonic clock. */
export type Again = { atMs: number } | undefined;

/** What this process knows of one resource beyond what the API server has. */
interface Memory {
  virtualMachine: VirtualMachine;
  /** The status as the API server was last seen to have it. */
  stored: VirtualMachineStatus;
  /** The status as last computed: ahead of the API server's while a write is under way. */
  status: VirtualMachineStatus;
  attempt: Attempt | undefined;
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
  /** Keys whose resource was gone at their last pass: few, while there may be thousands of resources. */
  readonly #orphans = new Set<Key>();
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
        this.#orphans.delete(key);
        return undefined;
      }
      const decision = decide(observation);
      // Neither a status nor an Event may tell of what is not done.
      // What it waits for is the next process's; a guest that goes off is told by an event.
      if (!this.#mayCarryOut(observation, decision)) return undefined;
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

  /**
   * Looks at a domain that no resource names for a restart that another process began for one that is gone since: its
   * guest may be off. Answers the key under which it is brought to its end; undefined where nothing is owed.
   */
  async adoptOrphan({ uuid }: Domain): Promise<Key | undefined> {
    const { hypervisor, clock } = this.#ports;
    const seen = await hypervisor.look({ kind: "UUID", uuid }, {});
    const mark = hasMarks(seen) ? seen.marks.next : undefined;
    if (mark === undefined || !this.#isOrphaned(mark)) return undefined;
    const key = mark.owner;
    const virtualMachine = departedOwner(mark, uuid);
    const { status, spec } = virtualMachine;
    const attempt = adoptAttempt(mark, "Domain", undefined, spec.restartPolicy, clock.now());
    this.#memory.set(key, { virtualMachine, stored: status, status, attempt, marksReadIn: undefined });
    this.#orphans.add(key);
    return key;
  }

  /** Keys whose resource is gone in the middle of a restart: no list of resources names them any more. */
  orphans(): Iterable<Key> {
    return this.#orphans;
  }

  /** Keys of the resources whose restart waits for something that their host has to have. */
  heldUpByHost(): Iterable<Key> {
    return [];
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

  /** Whether a mark tells of a restart that a resource which is gone has left undone, and nobody works on. */
  #isOrphaned({ result, cluster, owner }: RequestMark): boolean {
    const { virtualMachines } = this.#ports;
    if (result !== undefined || cluster !== this.#ports.cluster || !virtualMachines.watches(owner))
      return false;
    return !this.#memory.has(owner) && virtualMachines.get(owner) === undefined;
  }

  /** Asked immediately before the effect: between the two nothing is waited for. */
  #mayCarryOut(observation: Observation, decision: Decision): boolean {
    const { verdict } = decision;
    if (this.#ending && verdict.kind === "Act" && disturbsGuest(verdict.effect)) return false;
    const { lease } = this.#ports;
    return lease.isHeld() || isOwedWithoutLease(observation, decision, lease);
  }

  async #observe(key: Key): Promise<Observation | undefined> {
    const { virtualMachines, lease, clock, cluster } = this.#ports;
    const seen = virtualMachines.get(key);
    const memory = this.#remember(key, seen);
    if (memory === undefined) return undefined;
    if (seen === undefined) this.#orphans.add(key);
    else this.#orphans.delete(key);
    const { virtualMachine, stored, attempt } = memory;
    const domain = withKnownReason(await this.#lookAt(memory), virtualMachine.status.domain);
    const rivals = domain.kind === "Present" ? this.#rivals(virtualMachine, domain.domain) : [];
    // What this process has begun itself it knows better than the mark that it wrote then.
    const mark = hasMarks(domain) ? lastMark(domain.marks) : undefined;
    const isNews = mark?.attempt !== attempt?.id;
    const told = isNews ? withServedBefore(virtualMachine, mark, cluster) : virtualMachine;
    return {
      virtualMachine: told,
      stored,
      cluster,
      domain,
      rivals,
      isOrphaned: mark !== undefined && this.#isOrphaned(mark),
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
    const question = questionFor(attempt, virtualMachine.spec.restartPolicy);
    if (attempt !== undefined) return hypervisor.look(reference, question);
    const seen = await hypervisor.glance(reference);
    if (seen.kind !== "Present") return seen;
    // A start may be owed of which nothing but the domain tells: the status was lost and the trigger is gone.
    const isNews = marksReadIn !== powerOf(seen.domain);
    if (mayBeBusy(virtualMachine, clock.now().epochMs)) return hypervisor.look(reference, question);
    return isNews ? hypervisor.look(reference, {}) : seen;
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
      const { status } = seen;
      return { virtualMachine: seen, stored: status, status, attempt: undefined, marksReadIn: undefined };
    }
    return { ...known, virtualMachine: { ...seen, status: known.status }, stored: seen.status };
  }

  #record(key: Key, observation: Observation, decision: Decision): void {
    const { virtualMachines } = this.#ports;
    const { virtualMachine, stored } = observation;
    const status = computeStatus(observation, decision);
    const attempt = decision.verdict.kind === "End" ? undefined : decision.attempt;
    const marksReadIn = marksReadNow(observation, decision) ?? this.#memory.get(key)?.marksReadIn;
    this.#memory.set(key, { virtualMachine, stored, status, attempt, marksReadIn });
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
    if (memory !== undefined) memory.attempt = afterEffect(attempt, effect, outcome, began, now);
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
