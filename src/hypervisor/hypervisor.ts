import {
  decodeState,
  procedures,
  XmlFlag,
  type ListedDomain,
  type Session,
  type SessionEvent,
} from "libvirt";
import type { Repair } from "../../controller/finding.ts";
import type {
  Comparison,
  Domain,
  DomainEffect,
  DomainReference,
  Glance,
  Hypervisor,
  Look,
  Marks,
  Missing,
  Outcome,
  Question,
  Sight,
  Unreachable,
} from "../../controller/ports.ts";
import { instantOf } from "../clock.ts";
import { attachDisk, startWithout } from "./absent-disks.ts";
import { Configurations } from "./definition/configurations.ts";
import { NormalForms } from "./definition/normal-form.ts";
import { DomainCalls } from "./domain-calls.ts";
import { DomainTurns } from "./domain-turns.ts";
import { readDomain, type DomainXml } from "./domain-xml.ts";
import { performRepair } from "./preflight/repair.ts";
import { isProvenDefinition, marksOfBoot } from "./marks.ts";
import { Mirror, type Answer, type Known } from "./mirror.ts";
import { isNamedMomentary, removeLeftover } from "./momentary-domain.ts";
import { nextStart, type Starter } from "./next-start.ts";
import { absenceOf, lossOf, outcomeOf } from "./outcome.ts";
import type { XmlElement } from "./xml/element.ts";

/** Whether the hypervisor can be asked. */
type Reachability = Unreachable | { kind: "Reachable"; driver: string };

/**
 * A daemon that is only restarted is back sooner; resources at rest are not told of it. Those with a restart
 * under way see it at their next look.
 */
const shortOutageMs = 10_000;

/**
 * A libvirtd that was restarted lists as running, and finds dead without an event, the guests that died meanwhile. It
 * has looked at them by then.
 */
const secondListMs = 5000;

/** How often a look begins anew because the domain started or stopped meanwhile. */
const mostLooks = 3;

type Listener = (event: SessionEvent) => void;

/**
 * What wants to be looked at: a domain; all of them when the connection comes or goes; or those that lack something of
 * their host, of which something has changed: a network, a pool, a device, a secret.
 */
export type HypervisorChange = Pick<Domain, "uuid" | "name"> | "All" | "Host";

/** The controller's hypervisor over a libvirt session. */
export class LibvirtHypervisor implements Hypervisor {
  readonly #session: Session;
  readonly #changed: (change: HypervisorChange) => void;
  readonly #mirror = new Mirror();
  readonly #turns: DomainTurns;
  readonly #forms: NormalForms;
  readonly #configurations: Configurations;
  /** UUIDs of domains that have a momentary domain's name since the connection began. */
  #leftovers: ReadonlySet<string> = new Set();
  #outage: NodeJS.Timeout | undefined;
  #secondList: NodeJS.Timeout | undefined;
  #everReached = false;
  /** What there was to say before libvirt was asked nothing more. */
  #beforeHeld: Reachability | undefined;
  #reachability: Reachability = {
    kind: "Unreachable",
    reason: "HypervisorUnreachable",
    message: "not connected to libvirt yet",
  };

  /** `connect` makes a session that tells the given listener; nothing happens before start(). */
  constructor(connect: (listener: Listener) => Session, changed: (change: HypervisorChange) => void) {
    this.#changed = changed;
    this.#session = connect((event) => this.#receive(event));
    this.#turns = new DomainTurns(this.#session, (domain) => this.#answered(domain));
    this.#forms = new NormalForms(this.#session);
    this.#configurations = new Configurations(this.#session, this.#forms);
  }

  /** Begins to connect, and keeps connected. */
  start(): void {
    this.#session.start();
  }

  /** Ends the connection for good. */
  async close(): Promise<void> {
    this.#endOutage();
    clearTimeout(this.#secondList);
    this.#turns.close();
    await this.#session.close();
  }

  #receive(event: SessionEvent): void {
    switch (event.type) {
      case "Connected":
        this.#endOutage();
        this.#everReached = true;
        this.#mirror.reset(event.domains);
        this.#forms.forget();
        this.#reachability = {
          kind: "Reachable",
          driver: new URL(event.hypervisor.uri).protocol.slice(0, -1),
        };
        if (event.domains !== undefined) this.#listed(event.domains);
        this.#changed("All");
        return;
      case "Listed":
        this.#mirror.complete(event.domains);
        this.#listed(event.domains);
        this.#changed("All");
        return;
      case "Held":
        this.#beforeHeld = this.#reachability;
        this.#setUnreachable(event.error.message);
        return;
      case "Released":
        this.#endOutage();
        this.#reachability = this.#beforeHeld ?? this.#reachability;
        this.#changed("All");
        return;
      case "Disconnected":
        clearTimeout(this.#secondList);
        this.#setUnreachable(lossOf(event.error, this.#session.uri));
        return;
      case "MetadataChange":
        // The marks that this program writes itself; they are read afresh whenever they matter.
        return;
      case "HostChange":
        this.#changed("Host");
        return;
      default:
        // This program's own, which are gone in a moment.
        if (isNamedMomentary(event.domain)) return;
        this.#mirror.note(event, instantOf(event.receivedAtMs));
        this.#changed(event.domain);
    }
  }

  #listed(domains: readonly ListedDomain[]): void {
    this.#turns.listed();
    this.#leftovers = new Set(domains.filter(isNamedMomentary).map(({ uuid }) => uuid));
    clearTimeout(this.#secondList);
    this.#secondList = setTimeout(() => void this.#listAgain(), secondListMs);
  }

  /** libvirt answers again for a domain that hung. */
  #answered(reference: DomainReference): void {
    const domain = this.find(reference) ?? { name: "", uuid: "", ...reference };
    this.#changed({ name: domain.name, uuid: domain.uuid });
  }

  /** One call for all domains. Where it fails, the next connection tells. */
  async #listAgain(): Promise<void> {
    try {
      const domains = await this.#session.listDomains();
      for (const domain of this.#mirror.compare(domains)) this.#changed(domain);
      // What is still there is no other controller's that is at work.
      const leftovers = domains.filter(({ uuid }) => this.#leftovers.has(uuid));
      await Promise.all(leftovers.map((domain) => removeLeftover(this.#session, domain)));
    } catch (error) {
      // Throws on what is not libvirt's.
      this.#absence(error);
    }
  }

  /** The domain as last heard of, without asking; undefined where there is none. */
  find(reference: DomainReference): Domain | undefined {
    return this.#mirror.find(reference)?.domain;
  }

  /** All domains as last heard of. */
  domains(): Domain[] {
    return this.#mirror.domains();
  }

  async glance(reference: DomainReference, comparison?: Comparison): Promise<Glance> {
    if (this.#reachability.kind === "Unreachable") return this.#reachability;
    const entry = this.#mirror.find(reference) ?? (await this.#meet(reference));
    if ("kind" in entry) return entry;
    const { domain: known, stale, knowsAgent } = entry;
    if (!stale && knowsAgent && comparison === undefined) return { kind: "Present", domain: known };
    return this.#asking<Glance>(known, async (calls) => {
      const eventsBefore = this.#mirror.events(known.uuid);
      const isAsked = known.id !== undefined && (!knowsAgent || comparison !== undefined);
      const live = isAsked ? await calls.xml(XmlFlag.None) : undefined;
      const persistent = comparison === undefined ? undefined : await calls.isPersistent();
      const next = await this.#next({ identity: known, calls, persistent, live }, comparison);
      const xml = live && readDomain(live);
      const domain = await this.#refresh(known, calls, { xml, eventsBefore });
      return { kind: "Present", domain, ...next };
    });
  }

  async look(reference: DomainReference, question: Question): Promise<Look> {
    if (this.#reachability.kind === "Unreachable") return this.#reachability;
    const look = await this.#lookAt(reference, question);
    return look.kind === "Missing" ? this.#missing(reference, question) : look;
  }

  async #lookAt(reference: DomainReference, question: Question): Promise<Look> {
    const entry = this.#mirror.find(reference) ?? (await this.#meet(reference));
    if ("kind" in entry) return entry;
    return this.#asking<Look>(entry.domain, async (calls) => {
      for (let look = 1; look <= mostLooks; look += 1) {
        const { lastStop } = this.#mirror.find(reference)?.domain ?? {};
        // A boot that is known to run is only compared with what is asked for last: its ID never comes again on this
        // connection. What has made way for another since is found out by that, too.
        const isKnown = look === 1 && !entry.stale && entry.domain.id !== undefined;
        const [before, persistent, nextMark] = await Promise.all([
          isKnown ? entry.domain : this.#refresh(entry.domain, calls),
          calls.isPersistent(),
          calls.nextRequestMark(),
        ]);
        const marks: Marks = { bootMark: false, next: nextMark };
        // A domain that is off has no boot to tell apart, and its start should not wait.
        if (before.id === undefined) {
          const next = await this.#next({ identity: before, calls, persistent }, question.comparison);
          return { kind: "Present", domain: before, persistent, marks, ...next };
        }
        const eventsBefore = this.#mirror.events(before.uuid);
        const { live, xml, ...sight } = await sightOfBoot(calls, before, question);
        const next = await this.#next({ identity: before, calls, persistent, live }, question.comparison);
        // Asked last: what is looked at before may take a while, and is decided on as of now.
        const domain = await this.#refresh(before, calls, { xml, eventsBefore });
        // A stop that overtook the answers is known, and they speak of the boot that it ended.
        if (domain.id === before.id && domain.lastStop === lastStop) {
          return {
            kind: "Present",
            domain,
            persistent,
            marks: { ...marks, ...marksOfBoot(live, question.attempt ?? nextMark?.attempt) },
            ...sight,
            ...next,
          };
        }
      }
      return {
        kind: "Unreachable",
        reason: "DomainUnreadable",
        message: "the domain starts and stops faster than one can look",
        retryInMs: 1000,
      };
    });
  }

  /** A domain that nothing has told of is asked for alone where libvirt has given no list. */
  async #meet(reference: DomainReference): Promise<Known | Missing | Unreachable> {
    if (this.#mirror.isComplete) return { kind: "Missing" };
    const caller = this.#turns.of(reference);
    try {
      const { dom } = await (reference.kind === "Name"
        ? caller.call(procedures.domainLookupByName, reference)
        : caller.call(procedures.domainLookupByUuid, reference));
      this.#mirror.meet(dom);
      return this.#mirror.find(reference) ?? { kind: "Missing" };
    } catch (error) {
      return this.#absence(error, wordOf(reference));
    }
  }

  async perform(domain: Domain, effect: DomainEffect): Promise<Outcome> {
    return this.#acting((driver) => this.#perform(this.#calls(domain, driver), domain, effect));
  }

  async repair(repair: Repair): Promise<Outcome> {
    return this.#acting(() => performRepair(this.#session, repair));
  }

  async defineNew(reference: DomainReference, definition: string): Promise<Outcome> {
    return this.#acting(() => this.#configurations.defineNew(reference, definition));
  }

  async #perform(calls: DomainCalls, domain: Domain, effect: DomainEffect): Promise<void> {
    switch (effect.kind) {
      case "Define":
        return this.#configurations.define(calls, domain, effect.definition);
      case "RollBack":
        return this.#configurations.rollBack(calls, domain, effect.mark);
      case "AttachDisk":
        return attachDisk(calls, effect.disk);
      case "Start":
        return effect.without === undefined || effect.without.length === 0
          ? calls.perform(effect)
          : startWithout(calls, effect.without);
      case "Settle":
        await calls.perform(effect);
        if (isProvenDefinition(effect.mark)) this.#configurations.forgetPrevious(domain);
        return undefined;
      default:
        return calls.perform(effect);
    }
  }

  /** What the next start would use, where that was asked. */
  async #next(starter: Starter, comparison: Comparison | undefined): Promise<Pick<Sight, "next">> {
    if (comparison === undefined || this.#reachability.kind === "Unreachable") return {};
    const { driver } = this.#reachability;
    const host = { session: this.#session, driver, forms: this.#forms };
    return { next: await nextStart(host, starter, comparison) };
  }

  /** A domain that is not there could be defined. */
  async #missing(reference: DomainReference, { comparison }: Question): Promise<Look> {
    if (comparison?.blueprint.definition === undefined) return { kind: "Missing" };
    const identity = reference.kind === "Name" ? { name: reference.name } : { uuid: reference.uuid };
    try {
      return { kind: "Missing", ...(await this.#next({ identity }, comparison)) };
    } catch (error) {
      return this.#absence(error, wordOf(reference));
    }
  }

  /** `xml` is what the XML of the running boot has said since so many events had come. */
  async #refresh(
    { uuid }: Domain,
    calls: DomainCalls,
    { xml, eventsBefore }: { xml?: DomainXml | undefined; eventsBefore: number } = {
      eventsBefore: this.#mirror.events(uuid),
    },
  ): Promise<Domain> {
    const [{ name, id }, { state, reason }] = await Promise.all([calls.identity(), calls.state()]);
    const told = decodeState(state, reason);
    const domain: Answer = { uuid, name, id, ...told, agent: xml?.agent, knowsAgent: xml !== undefined };
    // libvirtd forgets the reason when it is restarted, and keeps it when the saved image is removed.
    if (told.state === "Shutoff" && (told.reason === "Saved" || told.reason === "Unknown")) {
      domain.reason = (await calls.hasSavedImage()) ? "Saved" : "Unknown";
    }
    return this.#mirror.set(domain, eventsBefore);
  }

  async #asking<T extends Glance>(
    domain: Domain,
    ask: (calls: DomainCalls) => Promise<T>,
  ): Promise<T | (Glance & { kind: "Missing" | "Unreachable" })> {
    if (this.#reachability.kind === "Unreachable") return this.#reachability;
    try {
      return await ask(this.#calls(domain, this.#reachability.driver));
    } catch (error) {
      const absence = this.#absence(error, domain.name);
      if (absence.kind === "Missing") this.#mirror.remove(domain.uuid);
      return absence;
    }
  }

  #absence(error: unknown, name?: string): Missing | Unreachable {
    return absenceOf(error, { uri: this.#session.uri, name });
  }

  /** The effect is not sent where the hypervisor cannot be asked. */
  async #acting(act: (driver: string) => Promise<void>): Promise<Outcome> {
    if (this.#reachability.kind === "Unreachable")
      return { kind: "NotSent", message: this.#reachability.message };
    const { driver } = this.#reachability;
    return outcomeOf(() => act(driver));
  }

  #calls(domain: Domain, driver: string): DomainCalls {
    return new DomainCalls(this.#turns.of({ kind: "UUID", uuid: domain.uuid }), driver, domain);
  }

  #setUnreachable(message: string): void {
    this.#reachability = { kind: "Unreachable", reason: "HypervisorUnreachable", message };
    this.#outage ??= setTimeout(() => this.#changed("All"), this.#everReached ? shortOutageMs : 0);
  }

  #endOutage(): void {
    clearTimeout(this.#outage);
    this.#outage = undefined;
  }
}

/** What a look at a running domain finds beyond its marks. */
async function sightOfBoot(
  calls: DomainCalls,
  { state, reason }: Domain,
  { jobs, agent: question }: Question,
): Promise<Omit<Sight, "domain" | "persistent" | "marks" | "next"> & { live: XmlElement; xml: DomainXml }> {
  const live = await calls.xml(XmlFlag.None);
  const xml = readDomain(live);
  const isStuck = state === "Paused" && reason === "IOError";
  const isAsked = question !== undefined && state === "Running" && xml.agent === "Connected";
  const [job, storageProblem, agent] = await Promise.all([
    jobs === true ? calls.job(xml.disks) : undefined,
    isStuck ? calls.storageProblem(xml.disks) : undefined,
    isAsked ? calls.askAgent(question) : undefined,
  ]);
  return { live, xml, job, storageProblem, agent };
}

/** What a resource calls its domain. */
function wordOf(reference: DomainReference): string {
  return reference.kind === "Name" ? reference.name : reference.uuid;
}
