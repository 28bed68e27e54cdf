import type { VirtualMachine, VirtualMachineStatus } from "../crds/virtual-machine.ts";
import { adoptAttempt, afterEffect, questionFor, type Attempt } from "./attempt.ts";
import { noticeOfCancel } from "./cancel.ts";
import { decide } from "./decide.ts";
import type { Decision, Observation, Verdict } from "./decision.ts";
import { isOwed } from "./disturbance.ts";
import { isOwedWithoutLease } from "./lost-lease.ts";
import { withFirstWords } from "./first-words.ts";
import { noticesOf } from "./notice.ts";
import { domainReference } from "./domain-reference.ts";
import { withKnownReason } from "./off-reason.ts";
import { plugInAgainFromMs } from "./plug-in.ts";
import {
  hasMarks,
  lastMark,
  type Definition,
  type Domain,
  type DomainReference,
  type Effect,
  type Glance,
  type Key,
  type Look,
  type Outcome,
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
  /**
   * When the running boot was last compared with what the next start would use, on the monotonic clock; undefined where
   * none runs, and where what was found then holds no longer.
   */
  comparedAtMs?: number | undefined;
  /** The definition that it was compared with. */
  comparedWith?: Definition | undefined;
  /** From when on each disk that was plugged in may be again, where the running boot still is without it. */
  plugInsFromMs: ReadonlyMap<string, number>;
  /** Whether a restart waits for the hypervisor's host to have what a start needs. */
  isHeldUpByHost: boolean;
}

/** What this process knows of a resource that it has not worked on yet. */
const nothingKnown = {
  attempt: undefined,
  marksReadIn: undefined,
  plugInsFromMs: new Map<string, number>(),
  isHeldUpByHost: false,
};

type Power = "On" | "Off";

/** More passes in a row than any path of a restart takes; a key that wants more rests before it goes on. */
const mostPasses = 16;
const restMs = 1000;

/**
 * libvirt tells by no event of a change of a domain's configuration alone (virsh ... --config), nor of a file that is
 * back: so long are a comparison, and what keeps a disk away, taken to hold.
 */
const comparisonHoldsMs = 300_000;
const absenceHoldsMs = 60_000;

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
    this.#memory.set(key, { ...nothingKnown, virtualMachine, stored: status, status, attempt });
    this.#orphans.add(key);
    return key;
  }

  /** Keys whose resource is gone in the middle of a restart: no list of resources names them any more. */
  orphans(): Iterable<Key> {
    return this.#orphans;
  }

  /**
   * The hypervisor's host has changed, such as by a pool that was started. Gives the keys of the resources that wait for
   * that: what was found missing is looked for anew.
   */
  hostChanged(): Key[] {
    const waiting = [...this.#memory].filter(
      ([, { isHeldUpByHost, status }]) => isHeldUpByHost || status.detachedVolumes !== undefined,
    );
    for (const [, memory] of waiting) memory.comparedAtMs = undefined;
    return waiting.map(([key]) => key);
  }

  /** Keys of resources at rest whose running machine is to be compared again with what its next start would use. */
  *outdated(): Generator<Key, void, undefined> {
    const { monotonicMs } = this.#ports.clock.now();
    for (const [key, memory] of this.#memory) {
      const isCompared = memory.attempt === undefined && memory.comparedAtMs !== undefined;
      if (isCompared && isOutdated(memory, monotonicMs)) yield key;
    }
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
    if (this.#ending && verdict.kind === "Act" && !isOwed(verdict.effect)) return false;
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
    const definition = virtualMachines.definition(virtualMachine);
    const { status } = virtualMachine;
    const found = withKnownReason(await this.#lookAt(memory, definition), status.domain);
    const domain = withFirstWords(found, status);
    const rivals = this.#rivals(virtualMachine, domain);
    // What this process has begun itself it knows better than the mark that it wrote then.
    const mark = hasMarks(domain) ? lastMark(domain.marks) : undefined;
    const isNews = mark?.attempt !== attempt?.id;
    const told = isNews ? withServedBefore(virtualMachine, mark, cluster) : virtualMachine;
    return {
      virtualMachine: told,
      stored,
      cluster,
      domain,
      definition,
      plugInsFromMs: memory.plugInsFromMs,
      rivals,
      isOrphaned: mark !== undefined && this.#isOrphaned(mark),
      attempt,
      predecessorGoneAtMs: lease.predecessorGoneAtMs,
      now: clock.now(),
      nonce: clock.nonce(),
    };
  }

  /** An idle resource is told by what is known already; the marks are asked for where they can matter. */
  async #lookAt(memory: Memory, definition: Definition): Promise<Glance | Look> {
    const { virtualMachine, attempt, marksReadIn } = memory;
    const { hypervisor, clock } = this.#ports;
    const reference = domainReference(virtualMachine);
    const { spec, status } = virtualMachine;
    const blueprint = {
      definition: definition.kind === "Given" ? definition.xml : undefined,
      volumes: spec.volumes,
    };
    const now = clock.now();
    const question = questionFor(attempt, spec.restartPolicy, blueprint, now);
    if (attempt !== undefined) return hypervisor.look(reference, question);
    const seen = await hypervisor.glance(reference);
    if (seen.kind === "Unreachable") return seen;
    if (mayBeBusy(virtualMachine, now.epochMs)) return hypervisor.look(reference, question);
    if (seen.kind === "Missing") return seen;
    const comparison = isToBeCompared(memory, seen.domain, definition, now.monotonicMs)
      ? { blueprint, preflight: status.detachedVolumes !== undefined }
      : undefined;
    // A start may be owed of which nothing but the domain tells: the status was lost and the trigger is gone.
    if (marksReadIn !== powerOf(seen.domain)) return hypervisor.look(reference, { comparison });
    return comparison === undefined ? seen : hypervisor.glance(reference, comparison);
  }

  /** Other resources that name the same domain, also one that is not there yet. */
  #rivals(virtualMachine: VirtualMachine, seen: Glance | Look): VirtualMachine[] {
    if (seen.kind === "Unreachable") return [];
    const reference = domainReference(virtualMachine);
    const missing =
      reference.kind === "Name" ? { name: reference.name, uuid: "" } : { ...reference, name: "" };
    const { metadata } = virtualMachine;
    return this.#ports.virtualMachines
      .naming(seen.kind === "Present" ? seen.domain : missing)
      .filter((one) => one.metadata.uid !== metadata.uid);
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
      return { ...nothingKnown, virtualMachine: seen, stored: status, status };
    }
    return { ...known, virtualMachine: { ...seen, status: known.status }, stored: seen.status };
  }

  #record(key: Key, observation: Observation, decision: Decision): void {
    const { virtualMachines, lease } = this.#ports;
    const { virtualMachine, stored } = observation;
    const status = computeStatus(observation, decision);
    const attempt = decision.verdict.kind === "End" ? undefined : decision.attempt;
    const before = this.#memory.get(key);
    const { conditions, findings } = virtualMachine.status;
    const { verdict } = decision;
    // A status that the effect, or another look, replaces as soon as it returns is not worth a write.
    const isTold = verdict.kind !== "Look" && (verdict.kind !== "Act" || verdict.announce);
    this.#memory.set(key, {
      virtualMachine,
      stored,
      // What nobody was told of has not changed.
      status: isTold ? status : { ...status, conditions, findings },
      attempt,
      marksReadIn: marksReadNow(observation, decision) ?? before?.marksReadIn,
      ...comparedNow(observation, before),
      plugInsFromMs: observation.plugInsFromMs,
      isHeldUpByHost: verdict.kind === "Blocked" && verdict.findings !== undefined,
    });
    const cancel = noticeOfCancel(before?.virtualMachine, virtualMachine, decision);
    // Who only owes a start leaves the rest to the next holder.
    if (cancel !== undefined && lease.isHeld()) virtualMachines.publish(virtualMachine, cancel);
    if (!isTold) return;
    virtualMachines.writeStatus(virtualMachine, status);
    for (const notice of noticesOf(decision, virtualMachine.status, status))
      virtualMachines.publish(virtualMachine, notice);
  }

  async #act(key: Key, observation: Observation, { verdict, attempt }: Decision): Promise<Again | "Now"> {
    switch (verdict.kind) {
      case "Rest":
      case "Blocked":
      case "Unavailable":
      case "Wait":
        return againAfter(verdict);
      case "Rebase":
      case "Look":
      case "End":
        return "Now";
      case "Act":
        await this.#perform(key, observation, attempt, verdict.effect);
        return "Now";
      default:
        return verdict satisfies never;
    }
  }

  async #perform(
    key: Key,
    { domain: seen, virtualMachine }: Observation,
    attempt: Attempt | undefined,
    effect: Effect,
  ): Promise<void> {
    const { clock, journal } = this.#ports;
    const domain = seen.kind === "Present" ? seen.domain : undefined;
    const began = clock.now();
    const outcome = await this.#carryOut(domain ?? domainReference(virtualMachine), effect);
    const ended = clock.now();
    journal.performed({ key, attempt: attempt?.id, domain, effect, outcome, began, ended });
    const memory = this.#memory.get(key);
    if (memory === undefined) return;
    if (attempt !== undefined) memory.attempt = afterEffect(attempt, effect, outcome, began, ended);
    if (effect.kind !== "AttachDisk") return;
    // No event has to tell what this changes of the running boot.
    memory.comparedAtMs = undefined;
    const fromMs = plugInAgainFromMs(outcome, ended.monotonicMs);
    memory.plugInsFromMs = new Map([...memory.plugInsFromMs, [effect.disk, fromMs]]);
  }

  async #carryOut(target: Domain | DomainReference, effect: Effect): Promise<Outcome> {
    const { hypervisor } = this.#ports;
    if (effect.kind === "Repair") return hypervisor.repair(effect.repair);
    if (!("kind" in target)) return hypervisor.perform(target, effect);
    if (effect.kind === "Define" && effect.definition !== undefined)
      return hypervisor.defineNew(target, effect.definition);
    throw new Error(`nothing can be done to a domain that is not there: ${effect.kind}`);
  }
}

/** When an event may not come before it is time. */
function againAfter(verdict: Verdict): Again {
  return "untilMs" in verdict && verdict.untilMs !== undefined ? { atMs: verdict.untilMs } : undefined;
}

/** Whether the running boot is to be compared with what the next start would use. */
function isToBeCompared(
  memory: Memory,
  { id, lastDefined }: Domain,
  definition: Definition,
  nowMs: number,
): boolean {
  if (id === undefined) return false;
  const { comparedAtMs = Number.NEGATIVE_INFINITY, comparedWith } = memory;
  const isAnother = !isSameDefinition(comparedWith, definition);
  return isAnother || (lastDefined?.monotonicMs ?? -Infinity) > comparedAtMs || isOutdated(memory, nowMs);
}

function isOutdated({ comparedAtMs, status }: Memory, nowMs: number): boolean {
  const holdsMs = status.detachedVolumes === undefined ? comparisonHoldsMs : absenceHoldsMs;
  return nowMs >= (comparedAtMs ?? Number.NEGATIVE_INFINITY) + holdsMs;
}

function isSameDefinition(one: Definition | undefined, other: Definition): boolean {
  if (one?.kind !== other.kind) return false;
  return one.kind !== "Given" || other.kind !== "Given" || one.xml === other.xml;
}

/** A domain that is off has nothing to compare: its next boot is compared anew. */
function comparedNow(
  { domain, definition, now }: Observation,
  before: Memory | undefined,
): Pick<Memory, "comparedAtMs" | "comparedWith"> {
  if (domain.kind !== "Present" || domain.domain.id === undefined) return {};
  if (domain.next !== undefined) return { comparedAtMs: now.monotonicMs, comparedWith: definition };
  return { comparedAtMs: before?.comparedAtMs, comparedWith: before?.comparedWith };
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
