import type { Socket } from "node:net";

import { ConnectionError, ProtocolError } from "../errors.ts";
import { FrameSplitter, MessageStatus, MessageType, encodeFrame } from "../protocol/frame.ts";
import type { Frame } from "../protocol/frame.ts";
import { PROGRAM_VERSION, Program } from "../protocol/procedure.ts";
import type { EventProcedure, Procedure } from "../protocol/procedure.ts";
import { connectionProcedures } from "../protocol/procedures.ts";
import { Calls } from "./calls.ts";
import type { CallOptions } from "./calls.ts";
import { EventListeners } from "./event-listeners.ts";
import type { EventListener } from "./event-listeners.ts";
import { shakeHands } from "./handshake.ts";
import { DEFAULT_KEEPALIVE, Keepalive, KeepaliveProcedure } from "./keepalive.ts";
import type { KeepaliveOptions } from "./keepalive.ts";
import { connectSocket, translateSocketError } from "./socket.ts";
import { parseUri } from "./uri.ts";
import type { Address } from "./uri.ts";
import type { Workers } from "./workers.ts";

/** How to open a connection. */
export interface ConnectionOptions {
  readonly keepalive?: Partial<KeepaliveOptions>;
  /** How long opening may take, in milliseconds. Default 10000. */
  readonly openTimeoutMs?: number;
  /** How many calls may be unanswered at once; the others wait. Default 4. */
  readonly maxInFlight?: number;
  /**
   * The longest message to accept, in bytes; a longer one ends the connection. Its values take up to about ten times
   * as much memory, those of a list without content seventeen times. Default 33554432, which is libvirt's own limit.
   */
  readonly maxMessageBytes?: number;
  /** Gives up opening. Has no effect on a connection that is open. */
  readonly signal?: AbortSignal;
  /** What its calls share with those of other connections to the same daemon; without, none waits for a worker. */
  readonly workers?: Workers | undefined;
}

/** How far a connection is. A closed one never opens again. */
export type ConnectionState =
  | { readonly status: "Opening" }
  | { readonly status: "Open" }
  | { readonly status: "Closing"; readonly error: ConnectionError }
  | { readonly status: "Closed"; readonly error: ConnectionError };

const DEFAULT_OPEN_TIMEOUT_MS = 10_000;

/**
 * libvirtd holds five calls of one client (max_client_requests) and stops reading its socket at the fifth, pings
 * included: five that hang for 30 s would end the connection. Four leave room for the pings.
 */
export const DEFAULT_MAX_IN_FLIGHT = 4;

/** How long close() waits for the daemon to take note, in milliseconds. */
const CLOSE_TIMEOUT_MS = 1_000;

/**
 * One connection to a libvirt daemon: typed calls, each with a deadline, events, and keepalive in both directions.
 * It does not reconnect; Session does.
 */
export class Connection {
  /** Where the daemon is. */
  readonly address: Address;
  /** Resolves with the reason when the connection has ended, whoever ended it. Never rejects. */
  readonly closed: Promise<ConnectionError>;

  readonly #socket: Socket;
  readonly #calls: Calls;
  readonly #keepalive: Keepalive;
  readonly #splitter: FrameSplitter;
  readonly #events = new EventListeners();
  readonly #resolveClosed: (error: ConnectionError) => void;
  #receivedAtMs = 0;
  #state: ConnectionState = { status: "Opening" };

  /**
   * Connects, authenticates and opens the driver.
   * Throws AddressError for a URI that leads nowhere, and ConnectionError when there is no connection.
   */
  static async open(uri: string | Address, options: ConnectionOptions = {}): Promise<Connection> {
    const address = typeof uri === "string" ? parseUri(uri) : uri;
    if (options.signal?.aborted === true) {
      throw new ConnectionError("Closed", `opening ${address.uri} was given up before it began`);
    }
    const connection = new Connection(address, options);
    await connection.#open(options);
    return connection;
  }

  private constructor(address: Address, options: ConnectionOptions) {
    this.address = address;
    const { promise, resolve } = Promise.withResolvers<ConnectionError>();
    this.closed = promise;
    this.#resolveClosed = resolve;
    this.#socket = connectSocket(address);
    this.#splitter = new FrameSplitter(options.maxMessageBytes);
    this.#calls = new Calls(
      options.maxInFlight ?? DEFAULT_MAX_IN_FLIGHT,
      (frame) => this.#socket.write(frame),
      options.workers,
    );
    this.#keepalive = new Keepalive(
      { ...DEFAULT_KEEPALIVE, ...options.keepalive },
      () => this.#sendKeepalive(KeepaliveProcedure.Ping),
      () =>
        this.#end(new ConnectionError("KeepaliveTimeout", `the daemon at ${this.#where} has fallen silent`)),
    );
    this.#listen();
  }

  /** How far the connection is. */
  get state(): ConnectionState {
    return this.#state;
  }

  /**
   * Makes a call and waits for its result.
   *
   * Rejects with LibvirtError when libvirt answers that it failed; CallTimeoutError when the deadline passes;
   * ConnectionError when the connection is not open or ends first (`sent` says whether libvirt may have carried it
   * out); the signal's reason; TypeError or RangeError for arguments that cannot be sent.
   */
  async call<A, R>(procedure: Procedure<A, R>, args: NoInfer<A>, options?: CallOptions): Promise<R> {
    const state = this.#state;
    switch (state.status) {
      case "Open":
        return this.#calls.add(procedure, args, options, { needsWorker: true });
      case "Opening":
        throw new ConnectionError("NotConnected", `${procedure.name}: the connection is not open yet`);
      case "Closing":
      case "Closed":
        throw new ConnectionError(state.error.kind, `${procedure.name}: ${state.error.message}`, {
          cause: state.error,
        });
      default:
        return state satisfies never;
    }
  }

  /**
   * Listens for an event, in the order in which the daemon sends them, until the returned function is called. The
   * daemon sends an event only once the call that is the event's `registration` has asked for it.
   */
  onEvent<P>(event: EventProcedure<P>, listener: EventListener<P>): () => void {
    return this.#events.add(event, listener);
  }

  /** Says goodbye to the daemon, and ends the connection within a second whether it answers or not. Never rejects. */
  async close(): Promise<void> {
    const error = new ConnectionError("Closed", `the connection to ${this.#where} was closed`);
    switch (this.#state.status) {
      case "Open":
        await this.#sayGoodbye(error);
        break;
      case "Closing":
        await this.closed;
        break;
      case "Opening":
      case "Closed":
        break;
    }
    this.#end(error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #where(): string {
    return `${this.address.socketPath} (${this.address.uri})`;
  }

  async #open({ openTimeoutMs = DEFAULT_OPEN_TIMEOUT_MS, signal }: ConnectionOptions): Promise<void> {
    const timer = setTimeout(() => {
      const problem = `the daemon at ${this.#where} did not answer within ${openTimeoutMs} ms: is it stuck?`;
      this.#end(new ConnectionError("OpenTimeout", problem));
    }, openTimeoutMs);
    const abort = () => this.#end(new ConnectionError("Closed", `opening ${this.#where} was given up`));
    signal?.addEventListener("abort", abort);
    try {
      await this.#shakeHands();
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  async #shakeHands(): Promise<void> {
    const call = <A, R>(procedure: Procedure<A, R>, args: NoInfer<A>): Promise<R> => {
      if (this.#state.status === "Closed") {
        throw this.#state.error;
      }
      return this.#calls.add(procedure, args, { timeoutMs: Infinity });
    };
    try {
      await shakeHands(call, () => this.#keepalive.start(), this.address);
    } catch (cause) {
      this.#end(cause instanceof ConnectionError ? cause : this.#protocolError(cause));
    }
    if (this.#state.status !== "Opening") {
      // Whatever ended it was first: a call that failed with the connection knows less.
      throw await this.closed;
    }
    this.#set({ status: "Open" });
  }

  async #sayGoodbye(error: ConnectionError): Promise<void> {
    this.#set({ status: "Closing", error });
    this.#calls.fail(error);
    try {
      await this.#calls.add(connectionProcedures.connectClose, {}, { timeoutMs: CLOSE_TIMEOUT_MS });
    } catch {
      // The answer does not matter, only that the daemon had the time to read.
    }
  }

  #listen(): void {
    this.#socket.setNoDelay(true);
    this.#socket.on("data", (chunk: Buffer) => this.#read(chunk));
    this.#socket.on("error", (cause) => this.#end(translateSocketError(cause, this.address)));
    for (const event of ["end", "close"]) {
      this.#socket.on(event, () =>
        this.#end(new ConnectionError("Disconnected", `the daemon at ${this.#where} ended the connection`)),
      );
    }
  }

  #read(chunk: Buffer): void {
    this.#receivedAtMs = performance.now();
    this.#keepalive.heard();
    try {
      this.#splitter.split(chunk, (frame) => this.#receive(frame));
    } catch (cause) {
      this.#end(this.#protocolError(cause));
    }
  }

  #receive(frame: Frame): void {
    if (this.#state.status === "Closed") {
      return;
    }
    if (frame.version !== PROGRAM_VERSION) {
      throw new ProtocolError(`a message has the version ${frame.version} of program ${frame.program}`);
    }
    switch (frame.program) {
      case Program.Remote:
      case Program.Qemu:
        this.#receiveRemote(frame);
        return;
      case Program.Keepalive:
        if (frame.procedure === KeepaliveProcedure.Ping) {
          this.#sendKeepalive(KeepaliveProcedure.Pong);
        }
        return;
      default:
        throw new ProtocolError(`a message belongs to the unknown program ${frame.program}`);
    }
  }

  #receiveRemote(frame: Frame): void {
    if (frame.type === MessageType.Reply) {
      this.#calls.reply(frame);
    } else if (frame.type === MessageType.Message) {
      this.#events.deliver(frame, this.#receivedAtMs);
    } else {
      throw new ProtocolError(`a message has the type ${frame.type}, which nobody asked for`);
    }
  }

  #sendKeepalive(procedure: number): void {
    // A daemon that does not read must not fill this process's memory with answers to its pings.
    if (this.#socket.writableNeedDrain) {
      return;
    }
    const header = {
      program: Program.Keepalive,
      version: PROGRAM_VERSION,
      procedure,
      type: MessageType.Message,
      serial: 0,
      status: MessageStatus.Ok,
    };
    this.#socket.write(encodeFrame(header, () => {}));
  }

  #protocolError(cause: unknown): ConnectionError {
    const problem = cause instanceof Error ? cause.message : String(cause);
    return new ConnectionError("Protocol", `${this.#where} does not speak libvirt's protocol: ${problem}`, {
      cause,
    });
  }

  /** Ends the connection for the first reason that comes; later ones are its consequences. */
  #end(reason: ConnectionError): void {
    if (this.#state.status === "Closed") {
      return;
    }
    const error = this.#state.status === "Closing" ? this.#state.error : reason;
    this.#set({ status: "Closed", error });
    this.#keepalive.stop();
    this.#socket.destroy();
    this.#calls.fail(error);
    this.#resolveClosed(error);
  }

  #set(state: ConnectionState): void {
    this.#state = state;
  }
}
