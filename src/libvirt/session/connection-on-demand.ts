import type { CallOptions } from "../connection/calls.ts";
import type { Connection } from "../connection/connection.ts";
import type { Procedure } from "../protocol/procedure.ts";

/** A further connection to a daemon, which is opened when it is first needed, and again after it was lost. */
export class ConnectionOnDemand {
  readonly #open: (signal: AbortSignal) => Promise<Connection>;
  readonly #stop = new AbortController();
  #connection: Promise<Connection> | undefined;

  constructor(open: (signal: AbortSignal) => Promise<Connection>) {
    this.#open = open;
  }

  /** Rejects as Connection.call does, and as Connection.open does. */
  async call<A, R>(procedure: Procedure<A, R>, args: NoInfer<A>, options?: CallOptions): Promise<R> {
    this.#connection ??= this.#openAnew();
    const connection = await this.#connection;
    return connection.call(procedure, args, options);
  }

  /** Ends the connection, or the attempt to open it. Never rejects. */
  async close(): Promise<void> {
    this.#stop.abort();
    try {
      const connection = await this.#connection;
      await connection?.close();
    } catch {
      // It could not be opened: there is nothing to close.
    }
  }

  async #openAnew(): Promise<Connection> {
    try {
      const connection = await this.#open(this.#stop.signal);
      void this.#forgetWhenClosed(connection);
      return connection;
    } catch (cause) {
      this.#connection = undefined;
      throw cause;
    }
  }

  async #forgetWhenClosed(connection: Connection): Promise<void> {
    await connection.closed;
    this.#connection = undefined;
  }
}
