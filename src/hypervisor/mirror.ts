import type { DomainEvent, ListedDomain } from "libvirt";
import { rebootBurstMs } from "../../controller/boot.ts";
import type { Domain, DomainReference, Instant } from "../../controller/ports.ts";

/** A domain as the mirror has it. */
interface Entry {
  readonly domain: Domain;
  /** Whether it was running when it was last heard of, by an event or an answer. */
  readonly isOn: boolean;
  /** How many events have come about it. */
  readonly events: number;
  /** How many of them had come when the hypervisor was asked for what `domain` says. */
  readonly eventsSeen: number;
  /** Whether the agent's state is known since the last connection began: no list tells of it. */
  readonly knowsAgent: boolean;
}

/** When something has happened to a domain: only events tell. */
type Moments = Pick<Domain, "lastStop" | "lastReboot" | "lastDefined">;

/** What an answer of the hypervisor says of a domain; without `agent` where it was not asked for that. */
export type Answer = Omit<Domain, keyof Moments | "connection"> & { knowsAgent?: boolean };

/** What is known of a domain, and whether an event has made that stale. */
export interface Known {
  readonly domain: Domain;
  readonly stale: boolean;
  readonly knowsAgent: boolean;
}

/**
 * The domains of one hypervisor as its list and its events told of them, so that a resource at rest costs no
 * call. What runs right now is asked of the hypervisor itself.
 */
export class Mirror {
  readonly #byUuid = new Map<string, Entry>();
  readonly #uuidByName = new Map<string, string>();
  #connection = 0;
  #isComplete = false;

  /** Whether a domain that is not in here is not there at all. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /**
   * Starts over from a full list; only what no list tells is kept: times, and whether there is an agent. Without a list,
   * everything that was known before is stale, and there may be more.
   */
  reset(domains: readonly ListedDomain[] | undefined): void {
    this.#connection += 1;
    this.#isComplete = domains !== undefined;
    const before = new Map(this.#byUuid);
    if (domains === undefined) {
      for (const { domain } of before.values()) this.#putStale(domain);
      return;
    }
    this.#byUuid.clear();
    this.#uuidByName.clear();
    for (const { uuid, name, id, state, reason } of domains) {
      const known = before.get(uuid)?.domain;
      const connection = this.#connection;
      const domain: Domain = { uuid, name, id, state, reason, ...momentsOf(known), connection };
      const agent = known?.agent;
      if (id !== undefined) domain.agent = agent;
      // Most domains have no agent, and nothing new to tell of it.
      const knowsAgent = domain.agent === undefined;
      this.#put({ domain, isOn: id !== undefined, events: 0, eventsSeen: 0, knowsAgent });
    }
  }

  /** Takes the list that was missing at the start: whatever it tells is looked at again, as events may be newer. */
  complete(domains: readonly ListedDomain[]): void {
    this.#isComplete = true;
    this.compare(domains);
    for (const { uuid, name, id, state, reason } of domains) {
      if (this.#byUuid.has(uuid)) continue;
      this.#putStale({ uuid, name, id, state, reason, connection: this.#connection });
    }
  }

  /** Takes note of a domain that no list has told of; nothing but its names is known. */
  meet({ uuid, name, id }: Pick<Domain, "uuid" | "name" | "id">): void {
    if (this.#byUuid.has(uuid)) return;
    this.#putStale({ uuid, name, id, state: "NoState", reason: "Unknown", connection: this.#connection });
  }

  /**
   * Takes a later list for what no event has told: a domain that runs as another boot or no longer is stale from now on.
   * Gives those domains.
   */
  compare(domains: readonly ListedDomain[]): Domain[] {
    const ids = new Map(domains.map(({ uuid, id }) => [uuid, id]));
    const entries = [...this.#byUuid.values()].filter(({ domain }) => ids.get(domain.uuid) !== domain.id);
    for (const entry of entries) this.#put({ ...entry, events: entry.events + 1 });
    return entries.map(({ domain }) => domain);
  }

  /** Takes note of an event: what is known of its domain is stale from now on. */
  note({ domain: { uuid, name }, ...event }: DomainEvent, at: Instant): void {
    const entry = this.#byUuid.get(uuid);
    const known = entry?.domain;
    if (
      event.type === "Lifecycle" &&
      event.event === "Undefined" &&
      known !== undefined &&
      known.id === undefined
    ) {
      this.remove(uuid);
      return;
    }
    const connection = this.#connection;
    const domain: Domain = { uuid, state: "NoState", reason: "Unknown", ...known, name, connection };
    let knowsAgent = entry?.knowsAgent ?? true;
    if (event.type === "Reboot" && !isWithinBurst(domain.lastReboot, at)) domain.lastReboot = at;
    let isOn = entry?.isOn ?? true;
    if (event.type === "Lifecycle" && event.event === "Started") isOn = true;
    if (event.type === "Lifecycle" && event.event === "Stopped") {
      // A start that fails is told as a stop, too; the guest has been off since the one before.
      if (isOn || event.detail !== "Failed") domain.lastStop = at;
      isOn = false;
      domain.agent = undefined;
    }
    if (event.type === "Lifecycle" && event.event === "Defined") domain.lastDefined = at;
    if (event.type === "AgentLifecycle" && event.state !== "Unknown") {
      domain.agent = event.state;
      knowsAgent = true;
    }
    this.#put({ domain, isOn, events: this.events(uuid) + 1, eventsSeen: 0, knowsAgent });
  }

  /** How many events have come about a domain: remember it before you ask, and give it to `set`. */
  events(uuid: string): number {
    return this.#byUuid.get(uuid)?.events ?? 0;
  }

  /**
   * Replaces what is known of a domain by what the hypervisor has answered, and gives the domain as it is known now.
   * It is stale at once where an event overtook the answer.
   */
  set({ knowsAgent: toldOfAgent, ...answer }: Answer, eventsBefore: number): Domain {
    const { uuid } = answer;
    const entry = this.#byUuid.get(uuid);
    const events = this.events(uuid);
    const isOvertaken = events !== eventsBefore;
    const agent = toldOfAgent === true && !isOvertaken ? answer.agent : entry?.domain.agent;
    const domain: Domain = { ...answer, ...momentsOf(entry?.domain), connection: this.#connection };
    domain.agent = domain.id === undefined ? undefined : agent;
    const knowsAgent = toldOfAgent === true || (entry?.knowsAgent ?? true);
    const isOn = isOvertaken ? (entry?.isOn ?? true) : domain.id !== undefined;
    this.#put({ domain, isOn, events, eventsSeen: eventsBefore, knowsAgent });
    return domain;
  }

  /** All domains, as they are known. */
  domains(): Domain[] {
    return [...this.#byUuid.values()].map(({ domain }) => domain);
  }

  /** The domain is gone. */
  remove(uuid: string): void {
    const entry = this.#byUuid.get(uuid);
    if (entry === undefined) return;
    this.#byUuid.delete(uuid);
    this.#forgetName(entry.domain);
  }

  /**
   * What is known of a domain; undefined where the hypervisor has told of none.
   */
  find(reference: DomainReference): Known | undefined {
    const uuid = reference.kind === "UUID" ? reference.uuid : this.#uuidByName.get(reference.name);
    const entry = uuid === undefined ? undefined : this.#byUuid.get(uuid);
    return entry === undefined
      ? undefined
      : { domain: entry.domain, stale: entry.events !== entry.eventsSeen, knowsAgent: entry.knowsAgent };
  }

  #putStale(domain: Domain): void {
    const isOn = domain.id !== undefined;
    this.#put({ domain, isOn, events: 1, eventsSeen: 0, knowsAgent: domain.agent === undefined });
  }

  #put(entry: Entry): void {
    const { uuid, name } = entry.domain;
    const before = this.#byUuid.get(uuid)?.domain;
    if (before !== undefined && before.name !== name) this.#forgetName(before);
    this.#byUuid.set(uuid, entry);
    this.#uuidByName.set(name, uuid);
  }

  /** Another domain may have taken the name in the meantime. */
  #forgetName({ name, uuid }: Domain): void {
    if (this.#uuidByName.get(name) === uuid) this.#uuidByName.delete(name);
  }
}

function momentsOf({ lastStop, lastReboot, lastDefined }: Moments = {}): Moments {
  return { lastStop, lastReboot, lastDefined };
}

function isWithinBurst(first: Instant | undefined, at: Instant): boolean {
  return first !== undefined && at.monotonicMs <= first.monotonicMs + rebootBurstMs;
}
