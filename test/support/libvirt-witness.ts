import { LibvirtError, Session, decodeState, procedures } from "libvirt";
import type { Domain, DomainEvent, ErrorCodeName, Procedure, SessionCallOptions } from "libvirt";
import type { Driver, Libvirtd } from "./libvirtd.ts";
import { startGuest, type NewGuest, type RunningGuest } from "./start-guest.ts";

/** A guest with what our own client hears of it. */
export class WitnessedGuest {
  readonly guest: RunningGuest;
  /** As libvirt names it, with the ID of its first boot. */
  readonly dom: Domain;
  readonly #witness: Witness;

  constructor(witness: Witness, guest: RunningGuest, dom: Domain) {
    this.#witness = witness;
    this.guest = guest;
    this.dom = dom;
  }

  /**
   * Makes a call about it; `args` are those beside the domain. Rejects as Session.call does. Events that the call causes
   * may come before its reply or after it: libvirtd sends them from different threads.
   */
  async call<A extends { dom: Domain }, R>(
    procedure: Procedure<A, R>,
    args: Omit<NoInfer<A>, "dom">,
    options?: SessionCallOptions,
  ): Promise<R> {
    return this.#witness.session.call(procedure, { ...args, dom: this.dom } as A, options);
  }

  /** State and reason, such as "Running Booted", without going by any event. */
  async state(): Promise<string> {
    const told = await this.call(procedures.domainGetState, { flags: 0 });
    const { state, reason } = decodeState(told.state, told.reason);
    return `${state} ${reason}`;
  }

  /** Its ID now; undefined while it is off. */
  async id(): Promise<number | undefined> {
    const { dom } = await this.#witness.session.call(procedures.domainLookupByUuid, { uuid: this.dom.uuid });
    return dom.id;
  }

  /** Takes the events that have come. */
  heard(): string[] {
    return this.#witness.take(this.guest.name);
  }

  /** Takes the events up to this one and with it, such as "Stopped Shutdown" or "Reboot", which comes or has come. */
  async until(event: string): Promise<string[]> {
    return this.#witness.takeUntil(this.guest.name, event);
  }
}

/** A session of our own client, and the events of each domain in words; changes of metadata are left out. */
export class Witness implements AsyncDisposable {
  readonly session: Session;
  readonly #libvirtd: Libvirtd;
  readonly #events = new Map<string, string[]>();
  #connected = Promise.withResolvers<void>();
  #change = Promise.withResolvers<void>();

  constructor(libvirtd: Libvirtd, driver: Driver = "qemu") {
    this.#libvirtd = libvirtd;
    this.session = new Session(libvirtd.uri(driver), {
      listener: (event) => {
        if (event.type === "Connected") this.#connected.resolve();
        else if (event.type === "Disconnected") this.#connected = Promise.withResolvers();
        else if ("domain" in event) this.#note(event);
      },
    });
    this.session.start();
  }

  /** Starts a guest and resolves when it has come up; the events until then are taken. */
  async start(options: NewGuest): Promise<WitnessedGuest> {
    await this.connected();
    const guest = await startGuest(this.#libvirtd, options);
    const { dom } = await this.session.call(procedures.domainLookupByName, { name: options.name });
    const witnessed = new WitnessedGuest(this, guest, dom);
    await witnessed.until("Started Booted");
    if (options.agent !== undefined && options.agent !== "absent") await witnessed.until("Agent Connected");
    return witnessed;
  }

  /** Resolves when the session is connected, for the first time or again. */
  async connected(): Promise<void> {
    await this.#connected.promise;
  }

  take(name: string): string[] {
    return this.#eventsOf(name).splice(0);
  }

  async takeUntil(name: string, event: string): Promise<string[]> {
    for (;;) {
      const events = this.#eventsOf(name);
      const index = events.indexOf(event);
      if (index >= 0) return events.splice(0, index + 1);
      await this.#change.promise;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session.close();
  }

  #eventsOf(name: string): string[] {
    const events = this.#events.get(name) ?? [];
    this.#events.set(name, events);
    return events;
  }

  #note(event: DomainEvent): void {
    if (event.type === "MetadataChange") return;
    this.#eventsOf(event.domain.name).push(inWords(event));
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }
}

function inWords(event: Exclude<DomainEvent, { type: "MetadataChange" }>): string {
  switch (event.type) {
    case "Lifecycle":
      return `${event.event} ${event.detail}`;
    case "AgentLifecycle":
      return `Agent ${event.state}`;
    case "IOError":
      return `IOError ${event.action} ${event.reason}`;
    case "JobCompleted":
      return `JobCompleted ${event.operation}`;
    case "BlockJob":
      return `BlockJob ${event.disk} ${event.job} ${event.status}`;
    case "Reboot":
    case "PMWakeup":
    case "PMSuspend":
      return event.type;
    default:
      return event satisfies never;
  }
}

/** How a call ends: "OK", or the name of libvirt's refusal. Rejects if it ends in another way. */
export async function verdict(call: Promise<unknown>): Promise<"OK" | ErrorCodeName> {
  try {
    await call;
    return "OK";
  } catch (error) {
    if (error instanceof LibvirtError) return error.code;
    throw error;
  }
}
