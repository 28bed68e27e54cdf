/** When to ask a silent daemon whether it is there, and when to give it up. */
export interface KeepaliveOptions {
  /** After how much silence to ping, and how long to wait between pings, in milliseconds. Default 5000. */
  readonly intervalMs: number;
  /** After how many unanswered pings the connection is given up. Default 5. */
  readonly count: number;
}

/** As libvirt's own client and daemon do: a dead peer is noticed after 30 s. */
export const DEFAULT_KEEPALIVE: KeepaliveOptions = { intervalMs: 5_000, count: 5 };

/** The procedures of the program "keepalive". */
export const KeepaliveProcedure = { Ping: 1, Pong: 2 } as const;

/**
 * Watches for silence: pings when nothing was heard for an interval, and calls `dead` when as many pings
 * as `count` went unanswered.
 *
 * It counts ticks and not elapsed time, so that a process that was itself stopped for a minute first reads what
 * has arrived meanwhile instead of giving up a healthy connection.
 */
export class Keepalive {
  readonly #options: KeepaliveOptions;
  readonly #ping: () => void;
  readonly #dead: () => void;
  #timer: NodeJS.Timeout | undefined;
  #missed = 0;

  constructor(options: KeepaliveOptions, ping: () => void, dead: () => void) {
    this.#options = options;
    this.#ping = ping;
    this.#dead = dead;
  }

  start(): void {
    this.#timer = setTimeout(() => this.#tick(), this.#options.intervalMs);
  }

  /** To be called for whatever arrives. */
  heard(): void {
    this.#missed = 0;
    this.#timer?.refresh();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #tick(): void {
    if (this.#missed >= this.#options.count) {
      this.stop();
      this.#dead();
      return;
    }
    this.#missed++;
    this.#timer?.refresh();
    this.#ping();
  }
}
