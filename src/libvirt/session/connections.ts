import type { Connection } from "../connection/connection.ts";
import { ConnectionOnDemand } from "./connection-on-demand.ts";

/**
 * What libvirt can wait for, for a minute and longer, before it answers a call.
 *
 * - `Domain`: another job on the domain, and the hypervisor's process behind it.
 * - `Agent`: the guest's agent. A shutdown is answered when the guest is off.
 * - `Storage`: pools and volumes, and definitions that are checked against them.
 * - `File`: the content of files, which may be on a server that is away.
 */
export type WaitsFor = "Domain" | "Agent" | "Storage" | "File";

/**
 * The connections of a session to one daemon: one for the events, one for calls that the daemon answers by itself, and
 * one for each thing that calls wait for. A connection carries few unanswered calls, so that some that hang would
 * otherwise take the places of all others: guests' agents that hang must not hold up what ends their guests, nor must
 * storage that hangs.
 *
 * Events come alone, as libvirtd frees the registrations of a client that has gone twice at once where a worker still
 * carries out a call of the same connection: killing a client that had both made it die once in a hundred times (9.0.0).
 */
export class Connections {
  /** Lives as long as the session is connected; the others are opened when they are needed. */
  readonly main: Connection;
  readonly #others: Readonly<Record<WaitsFor | "Nothing", ConnectionOnDemand>>;

  constructor(main: Connection, open: (signal: AbortSignal) => Promise<Connection>) {
    this.main = main;
    this.#others = {
      Nothing: new ConnectionOnDemand(open),
      Domain: new ConnectionOnDemand(open),
      Agent: new ConnectionOnDemand(open),
      Storage: new ConnectionOnDemand(open),
      File: new ConnectionOnDemand(open),
    };
  }

  /** The one for calls that wait for this. */
  for(waitsFor: WaitsFor | "Nothing" = "Nothing"): ConnectionOnDemand {
    return this.#others[waitsFor];
  }

  /** Ends all of them. Never rejects. */
  async close(): Promise<void> {
    const connections = [this.main, ...Object.values(this.#others)];
    await Promise.all(connections.map((connection) => connection.close()));
  }
}
