import { isDeepStrictEqual } from "node:util";
import { Agent, type Dispatcher, errors, ProxyAgent } from "undici";
import type { ConnectionMaterial } from "./credentials.ts";

/** A call ends soon and shares few connections; a watch has one of its own, or it would starve the calls. */
export type Purpose = "Call" | "Watch";

/** The dispatchers of one generation. */
type Dispatchers = Readonly<Record<Purpose, Dispatcher>>;

/** Limits of the connections to the API server. */
export interface TransportOptions {
  /** How many connections the calls may share; more calls than that wait. */
  connections: number;
  /** How long opening a connection may take, in milliseconds. */
  connectTimeoutMs: number;
}

/**
 * The API server closes a connection that was idle for 90 s, and load balancers before it may do so
 * after 60 s: closing earlier on this side avoids the race between a request and that close.
 */
const IDLE_MS = 30_000;

/**
 * The first TCP keepalive probe; Node then probes each second and gives up after ten:
 * a peer that vanished is noticed in 40 s, even by a watch on which nothing happens.
 */
const KEEPALIVE_MS = 30_000;

/** Generations of connections that are kept for what is under way on them. */
const MOST_RETIRED = 8;

/**
 * The long-lived connections to one API server, one dispatcher for each purpose. Certificates that
 * were renewed mean new dispatchers: the old ones finish what is under way.
 */
export class Transport {
  readonly #options: TransportOptions;
  readonly #retired: Dispatchers[] = [];
  #generation = 0;
  #open: { material: ConnectionMaterial; dispatchers: Dispatchers } | undefined;
  #closed = false;

  constructor(options: TransportOptions) {
    this.#options = options;
  }

  /** The dispatcher to send a request with. Throws undici's own error once this is closed. */
  dispatcher(purpose: Purpose, material: ConnectionMaterial): Dispatcher {
    if (this.#closed) throw new errors.ClientDestroyedError();
    const former = this.#open;
    if (former !== undefined && sameMaterial(former.material, material)) {
      // The next comparison is then mostly one of references.
      former.material = material;
      return former.dispatchers[purpose];
    }
    const dispatchers = this.#dispatchers(material);
    this.#open = { material, dispatchers };
    if (former !== undefined) this.#retire(former.dispatchers);
    return dispatchers[purpose];
  }

  /** Grows with {@link renew}; says which connections a request has used. */
  get generation(): number {
    return this.#generation;
  }

  /**
   * The connections of the generation may be half open, as after a silent failure of the network: what
   * comes next opens new ones, or each of them would be found out by a deadline of its own.
   */
  renew(generation: number): void {
    if (generation !== this.#generation || this.#closed) return;
    this.#generation += 1;
    const former = this.#open;
    this.#open = undefined;
    if (former !== undefined) this.#retire(former.dispatchers);
  }

  /** Ends every connection, and every request that is still under way. */
  async close(): Promise<void> {
    this.#closed = true;
    const all = [...this.#retired, ...(this.#open === undefined ? [] : [this.#open.dispatchers])];
    await Promise.all(all.flatMap((each) => Object.values(each)).map((each) => each.destroy()));
  }

  /**
   * Lets what is under way end, which for a watch takes minutes; what is idle ends by itself. Undici's
   * own close() would do it too, but a closed agent cannot be destroyed any more: it forgets its sockets.
   */
  #retire(dispatchers: Dispatchers): void {
    this.#retired.push(dispatchers);
    const oldest = this.#retired.length > MOST_RETIRED ? this.#retired.shift() : undefined;
    for (const each of Object.values(oldest ?? {})) each.close().catch(() => {});
  }

  #dispatchers(material: ConnectionMaterial): Dispatchers {
    return {
      Call: this.#dispatcher(material, this.#options.connections),
      Watch: this.#dispatcher(material, null),
    };
  }

  #dispatcher(material: ConnectionMaterial, connections: number | null): Dispatcher {
    const connect = {
      timeout: this.#options.connectTimeoutMs,
      keepAlive: true,
      keepAliveInitialDelay: KEEPALIVE_MS,
    };
    const shared = {
      connections,
      // HTTP/1.1: with HTTP/2 all watches and calls would share one connection and its flow control.
      allowH2: false,
      keepAliveTimeout: IDLE_MS,
      keepAliveMaxTimeout: IDLE_MS,
      // Each request has a deadline of its own, and a watch an inactivity timeout.
      headersTimeout: 0,
      bodyTimeout: 0,
    };
    const requestTls = { ...connect, ...material.tls };
    if (material.proxy === undefined) return new Agent({ ...shared, connect: requestTls });
    return new ProxyAgent({
      ...shared,
      uri: material.proxy,
      connect,
      requestTls: { ...requestTls, allowH2: false },
    });
  }
}

function sameMaterial(first: ConnectionMaterial, second: ConnectionMaterial): boolean {
  return first === second || isDeepStrictEqual(first, second);
}
