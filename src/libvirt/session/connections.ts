import type { CallOptions } from "../connection/calls.ts";
import { DEFAULT_MAX_IN_FLIGHT } from "../connection/connection.ts";
import type { Connection } from "../connection/connection.ts";
import { Workers } from "../connection/workers.ts";
import type { Aftermath, CallHeldError } from "../errors.ts";
import type { Procedure } from "../protocol/procedure.ts";
import { ConnectionOnDemand } from "./connection-on-demand.ts";
import { DomainConnections } from "./domain-connections.ts";

/**
 * What libvirt can wait for, for a minute and longer, before it answers a call.
 *
 * - `Domain`: another job on the domain, and the hypervisor's process behind it.
 * - `Power`: a process that starts, or ends.
 * - `Agent`: the guest's agent. A shutdown is answered when the guest is off.
 * - `Storage`: pools and volumes, and definitions that are checked against them.
 * - `File`: the content of files, which may be on a server that is away.
 * - `Daemon`: one of the daemon's workers. Who asks whether the daemon answers must wait for nothing else.
 */
export type WaitsFor = "Domain" | "Power" | "Agent" | "Storage" | "File" | "Daemon";

type Elsewhere = Exclude<WaitsFor, "Domain" | "Power">;

/**
 * The connections of a session to one daemon: one for the events, two for calls about domains, and one for each other
 * thing that calls wait for. A connection carries few unanswered calls, so that some that hang would otherwise take the
 * places of all others: guests' agents that hang must not hold up what ends their guests, nor must storage that hangs.
 *
 * Events come alone, as libvirtd frees the registrations of a client that has gone twice at once where a worker still
 * carries out a call of the same connection: killing a client that had both made it die once in a hundred times (9.0.0).
 */
export class Connections {
  /** Lives as long as the session is connected; the others are opened when they are needed. */
  readonly main: Connection;
  readonly #workers = new Workers();
  readonly #domains: DomainConnections;
  readonly #others: Readonly<Record<Elsewhere, ConnectionOnDemand>>;

  /** `onHeld` is told why nothing more is sent about domains, and undefined when that is over. */
  constructor(
    main: Connection,
    {
      open,
      maxInFlight = DEFAULT_MAX_IN_FLIGHT,
      onHeld,
    }: {
      open: (signal: AbortSignal, workers: Workers) => Promise<Connection>;
      maxInFlight?: number | undefined;
      onHeld: (held: CallHeldError | undefined) => void;
    },
  ) {
    this.main = main;
    const openOther = (signal: AbortSignal) => open(signal, this.#workers);
    this.#domains = new DomainConnections(openOther, maxInFlight, onHeld);
    this.#others = {
      Agent: new ConnectionOnDemand(openOther),
      Storage: new ConnectionOnDemand(openOther),
      File: new ConnectionOnDemand(openOther),
      Daemon: new ConnectionOnDemand(openOther),
    };
  }

  /** Makes a call on the connection for what it waits for. Rejects as Session.call does. */
  call<A, R>(
    procedure: Procedure<A, R>,
    args: NoInfer<A>,
    { waitsFor = "Nothing", ...options }: CallOptions & { waitsFor?: WaitsFor | "Nothing" | undefined },
  ): Promise<R> {
    switch (waitsFor) {
      case "Nothing":
      case "Domain":
      case "Power":
        return this.#domains.call(waitsFor, procedure, args, options);
      default:
        return this.#others[waitsFor].call(procedure, args, options);
    }
  }

  /** Counts a call about domains that is unanswered on the main connection. */
  occupy(aftermath: Promise<Aftermath>): void {
    this.#domains.occupy(aftermath);
    // It is a list, of which one kind has priority and the other has not.
    void this.#workers.occupy({ hasPriority: true }, aftermath);
  }

  /** Resolves when a further call about domains would have a place, however long that takes. */
  free(): Promise<void> {
    return this.#domains.free();
  }

  /** Ends all of them. Never rejects. */
  async close(): Promise<void> {
    const connections = [this.main, this.#domains, ...Object.values(this.#others)];
    await Promise.all(connections.map((connection) => connection.close()));
  }
}
