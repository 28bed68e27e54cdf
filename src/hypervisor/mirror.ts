import type { DomainEvent, ListedDomain } from "libvirt";
import type { Domain, DomainReference, Instant } from "../../controller/ports.ts";

/** A domain as the mirror has it. */
interface Entry {
  readonly domain: Domain;
  /** How many events have come about it. */
  readonly events: number;
  /** How many of them had come when the hypervisor was asked for what `domain` says. */
  readonly eventsSeen: number;
}

/**
 * The domains of one hypervisor as its list and its events told of them, so that a resource at rest costs no
 * call. What runs right now is asked of the hypervisor itself.
 */
export class Mirror {
  readonly #byUuid = new Map<string, Entry>();
  readonly #uuidByName = new Map<string, string>();

  /** Starts over from a full list; only the times at which domains stopped are kept. */
  reset(domains: readonly ListedDomain[]): void {
    const before = new Map(this.#byUuid);
    this.#byUuid.clear();
    this.#uuidByName.clear();
    for (const { uuid, name, id, state, reason } of domains) {
      this.set({ uuid, name, id, state, reason, lastStop: before.get(uuid)?.domain.lastStop }, 0);
    }
  }

  /** Takes note of an event: what is known of its domain is stale from now on. */
  note({ domain: { uuid, name }, ...event }: DomainEvent, at: Instant): void {
    const known = this.#byUuid.get(uuid)?.domain;
    if (
      event.type === "Lifecycle" &&
      event.event === "Undefined" &&
      known !== undefined &&
      known.id === undefined
    ) {
      this.remove(uuid);
      return;
    }
    const domain: Domain = known ?? { uuid, name, state: "NoState", reason: "Unknown" };
    const stopped = event.type === "Lifecycle" && event.event === "Stopped";
    this.#put({ ...domain, name, lastStop: stopped ? at : domain.lastStop }, this.events(uuid) + 1, 0);
  }

  /** How many events have come about a domain: remember it before you ask, and give it to `set`. */
  events(uuid: string): number {
    return this.#byUuid.get(uuid)?.events ?? 0;
  }

  /**
   * Replaces what is known of a domain by what the hypervisor has answered. It is stale at once where an event
   * overtook the answer.
   */
  set(domain: Domain, eventsBefore: number): void {
    this.#put(domain, this.events(domain.uuid), eventsBefore);
  }

  /** The domain is gone. */
  remove(uuid: string): void {
    const entry = this.#byUuid.get(uuid);
    if (entry === undefined) return;
    this.#byUuid.delete(uuid);
    this.#forgetName(entry.domain);
  }

  /**
   * What is known of a domain, and whether an event has made that stale; undefined where the hypervisor has
   * told of none.
   */
  find(reference: DomainReference): { domain: Domain; stale: boolean } | undefined {
    const uuid = reference.kind === "UUID" ? reference.uuid : this.#uuidByName.get(reference.name);
    const entry = uuid === undefined ? undefined : this.#byUuid.get(uuid);
    return entry === undefined
      ? undefined
      : { domain: entry.domain, stale: entry.events !== entry.eventsSeen };
  }

  #put(domain: Domain, events: number, eventsSeen: number): void {
    const before = this.#byUuid.get(domain.uuid)?.domain;
    if (before !== undefined && before.name !== domain.name) this.#forgetName(before);
    this.#byUuid.set(domain.uuid, { domain, events, eventsSeen });
    this.#uuidByName.set(domain.name, domain.uuid);
  }

  /** Another domain may have taken the name in the meantime. */
  #forgetName({ name, uuid }: Domain): void {
    if (this.#uuidByName.get(name) === uuid) this.#uuidByName.delete(name);
  }
}
