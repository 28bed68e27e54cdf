import { Connection } from "../connection/connection.ts";
import type { ConnectionOptions } from "../connection/connection.ts";
import type { CallOptions } from "../connection/calls.ts";
import { callSafely } from "../connection/event-listeners.ts";
import { parseUri } from "../connection/uri.ts";
import type { Workers } from "../connection/workers.ts";
import { CallHeldError, CallTimeoutError, ConnectionError } from "../errors.ts";
import type { Aftermath } from "../errors.ts";
import type { Procedure } from "../protocol/procedure.ts";
import { Backoff, DEFAULT_RECONNECT } from "./backoff.ts";
import type { ReconnectOptions } from "./backoff.ts";
import type { DaemonEvent, Disconnected, HypervisorInfo, SessionEvent } from "./session-event.ts";
import { Connections } from "./connections.ts";
import type { WaitsFor } from "./connections.ts";
import { listDomains } from "./list-domains.ts";
import type { ListedDomain } from "./list-domains.ts";
import { watchSocket } from "./socket-watch.ts";
import { describeHypervisor, subscribe } from "./synchronize.ts";

/** How to keep a connection open, and who is told what happens on it. */
export interface SessionOptions extends Omit<ConnectionOptions, "signal" | "workers"> {
  /** Called in the order in which things happened. It should return soon: it holds up all that follows. */
  readonly listener: (event: SessionEvent) => void;
  readonly reconnect?: Partial<ReconnectOptions>;
}

/** How to make a call on a session. */
export interface SessionCallOptions extends Omit<CallOptions, "signal"> {
  /**
   * What libvirt may wait for before it answers: the call goes over a connection of its kind, so that it takes no
   * place from others. One that finds no place within its deadline rejects as not sent. Opening the connection is not
   * part of the deadline.
   */
  readonly waitsFor?: WaitsFor | undefined;
}

/** How far a session is. */
export type SessionState =
  | { readonly status: "Idle" }
  | { readonly status: "Connecting" }
  | { readonly status: "Synchronizing"; readonly connections: Connections }
  | {
      readonly status: "Connected";
      readonly connections: Connections;
      readonly hypervisor: HypervisorInfo;
    }
  | { readonly status: "Waiting"; readonly error: ConnectionError; readonly retryInMs: number }
  | { readonly status: "Closed" };

/** libvirt lists thousands of domains within a second; not while it holds one of them. */
const LIST_TIMEOUT_MS = 3_000;

type Failure = Pick<Disconnected, "stage" | "error">;

/**
 * Keeps a connection to one hypervisor open for good, and never loses track of its domains.
 *
 * Each time it connects it registers for all events, then lists all domains, and tells the listener `Connected`
 * with the full list, followed by the events that came in the meantime: nothing falls between. An event that came
 * before the list may already show in it. A daemon that does not list its domains in time, as one of them hangs, is
 * connected all the same: `Connected` comes without the list then, and `Listed` when the daemon has answered.
 */
export class Session {
  /** The URI of the hypervisor as it was given. */
  readonly uri: string;
  readonly #options: SessionOptions;
  readonly #backoff: Backoff;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #everConnected = false;
  #state: SessionState = { status: "Idle" };

  /** Throws AddressError for a URI that leads nowhere. Nothing happens before start(). */
  constructor(uri: string, options: SessionOptions) {
    parseUri(uri);
    this.uri = uri;
    this.#options = options;
    this.#backoff = new Backoff({ ...DEFAULT_RECONNECT, ...options.reconnect });
  }

  /** How far the session is. */
  get state(): SessionState {
    return this.#state;
  }

  /** Begins to connect, and to reconnect whenever that is needed. A second call does nothing. */
  start(): void {
    if (this.#state.status === "Idle") {
      this.#running = this.#run();
    }
  }

  /** Ends the session for good; the listener hears nothing more. Never rejects. */
  async close(): Promise<void> {
    const state = this.#state;
    this.#set({ status: "Closed" });
    this.#stop.abort();
    if (state.status === "Synchronizing" || state.status === "Connected") {
      await state.connections.close();
    }
    await this.#running;
  }

  /**
   * Makes a call on the connection there is. Rejects as Connection.call does; with a CallHeldError where too many calls
   * are unanswered; and at once with a ConnectionError of kind NotConnected when there is no connection: what was meant
   * for one connection is never sent on the next.
   */
  async call<A, R>(
    procedure: Procedure<A, R>,
    args: NoInfer<A>,
    options: SessionCallOptions = {},
  ): Promise<R> {
    const state = this.#state;
    if (state.status === "Connected") {
      return state.connections.call(procedure, args, options);
    }
    const cause = state.status === "Waiting" ? state.error : undefined;
    throw new ConnectionError("NotConnected", `${procedure.name}: not connected to ${this.uri}`, { cause });
  }

  /** Lists all domains anew. Rejects as call() does. */
  listDomains(): Promise<ListedDomain[]> {
    return listDomains(this);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const failure = await this.#connectOnce();
      if (!this.#stop.signal.aborted) {
        await this.#waitToRetry(failure);
      }
    }
  }

  /** Connects, and stays until the connection is lost. */
  async #connectOnce(): Promise<Failure> {
    const stage = this.#everConnected ? "Reconnect" : "FirstConnect";
    this.#set({ status: "Connecting" });
    try {
      return await this.#stay(await this.#open(this.#stop.signal));
    } catch (cause) {
      return { stage, error: this.#asConnectionError(cause) };
    }
  }

  async #stay(main: Connection): Promise<Failure> {
    const connections = new Connections(main, {
      open: (signal, workers) => this.#open(signal, workers),
      maxInFlight: this.#options.maxInFlight,
      onHeld: (error) => this.#tellHeld(connections, error),
    });
    try {
      await this.#synchronize(connections);
      const connectedAtMs = performance.now();
      const error = await main.closed;
      this.#forgetFailures(performance.now() - connectedAtMs);
      return { stage: "Lost", error };
    } finally {
      // Not awaited: a daemon that hangs must not delay the news that it does.
      void connections.close();
    }
  }

  #open(signal: AbortSignal, workers?: Workers): Promise<Connection> {
    return Connection.open(this.uri, { ...this.#options, signal, workers });
  }

  /** Registers first and lists then, so that no event falls between. */
  async #synchronize(connections: Connections): Promise<void> {
    const { main } = connections;
    this.#set({ status: "Synchronizing", connections });
    let early: DaemonEvent[] | undefined = [];
    await subscribe(main, (event) => {
      if (early === undefined) {
        this.#tell(event);
      } else {
        early.push(event);
      }
    });
    const [listed, hypervisor] = await Promise.all([list(main), describeHypervisor(main)]);
    const { domains } = listed;
    this.#everConnected = true;
    this.#set({ status: "Connected", connections, hypervisor });
    this.#tell({ type: "Connected", domains, hypervisor, receivedAtMs: performance.now() });
    const events = early;
    early = undefined;
    for (const event of events) {
      this.#tell(event);
    }
    if (listed.aftermath !== undefined) {
      connections.occupy(listed.aftermath);
      void this.#listAfter(listed.aftermath, connections);
    }
  }

  /** Lists the domains when the daemon has answered the list that was given up. */
  async #listAfter(unanswered: Promise<Aftermath>, connections: Connections): Promise<void> {
    let last: Promise<Aftermath | void> | undefined = unanswered;
    while (last !== undefined && (await last) !== "Lost" && this.#isOn(connections)) {
      try {
        const domains = await listDomains(this, LIST_TIMEOUT_MS);
        this.#tell({ type: "Listed", domains, receivedAtMs: performance.now() });
        return;
      } catch (error) {
        // Another one may hang by now, or all; without a connection, the next one lists.
        if (error instanceof CallHeldError) last = connections.free();
        else last = error instanceof CallTimeoutError ? error.aftermath : undefined;
      }
    }
  }

  #tellHeld(connections: Connections, error: CallHeldError | undefined): void {
    if (!this.#isOn(connections)) {
      return;
    }
    const receivedAtMs = performance.now();
    this.#tell(
      error === undefined ? { type: "Released", receivedAtMs } : { type: "Held", error, receivedAtMs },
    );
  }

  #isOn(connections: Connections): boolean {
    return this.#state.status === "Connected" && this.#state.connections === connections;
  }

  /** A daemon that accepts and drops again at once must not be asked ten times a second. */
  #forgetFailures(connectedForMs: number): void {
    const { maxDelayMs } = { ...DEFAULT_RECONNECT, ...this.#options.reconnect };
    if (connectedForMs >= maxDelayMs) {
      this.#backoff.reset();
    }
  }

  async #waitToRetry({ stage, error }: Failure): Promise<void> {
    const retryInMs = this.#backoff.next();
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, retryInMs);
    const wake = () => resolve();
    this.#stop.signal.addEventListener("abort", wake);
    const { socketPath } = parseUri(this.uri);
    const endWatch = watchSocket(socketPath, () => {
      this.#backoff.reset();
      resolve();
    });
    this.#set({ status: "Waiting", error, retryInMs });
    this.#tell({ type: "Disconnected", stage, error, retryInMs, receivedAtMs: performance.now() });
    await promise;
    clearTimeout(timer);
    this.#stop.signal.removeEventListener("abort", wake);
    endWatch();
  }

  #asConnectionError(cause: unknown): ConnectionError {
    if (cause instanceof ConnectionError) {
      return cause;
    }
    const problem = cause instanceof Error ? cause.message : String(cause);
    return new ConnectionError("OpenFailed", `${this.uri} cannot be used: ${problem}`, { cause });
  }

  #tell(event: SessionEvent): void {
    if (this.#state.status !== "Closed") {
      callSafely(() => this.#options.listener(event));
    }
  }

  #set(state: SessionState): void {
    if (this.#state.status !== "Closed") {
      this.#state = state;
    }
  }
}

/** The domains, or what becomes of a list that the daemon does not give in time. */
async function list(
  connection: Connection,
): Promise<{ domains?: ListedDomain[]; aftermath?: Promise<Aftermath> }> {
  try {
    return { domains: await listDomains(connection, LIST_TIMEOUT_MS) };
  } catch (error) {
    if (error instanceof CallTimeoutError && error.aftermath !== undefined) {
      return { aftermath: error.aftermath };
    }
    throw error;
  }
}
