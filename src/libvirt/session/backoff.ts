/** How long to wait between attempts to connect. */
export interface ReconnectOptions {
  /** The first delay, in milliseconds. Default 100. */
  readonly initialDelayMs: number;
  /** The longest delay, in milliseconds. Default 10000. */
  readonly maxDelayMs: number;
  /** A number from 0 to below 1, as Math.random: clients of one daemon must not all come back at once. */
  readonly random: () => number;
}

/** Twice the delay each time, from 0.1 s to 10 s. */
export const DEFAULT_RECONNECT: ReconnectOptions = {
  initialDelayMs: 100,
  maxDelayMs: 10_000,
  random: Math.random,
};

/** Delays that double up to a limit, each shortened by up to a half at random. */
export class Backoff {
  readonly #options: ReconnectOptions;
  #failures = 0;

  constructor(options: ReconnectOptions) {
    this.#options = options;
  }

  /** The delay before the next attempt, in milliseconds. */
  next(): number {
    const { initialDelayMs, maxDelayMs, random } = this.#options;
    const delayMs = Math.min(initialDelayMs * 2 ** this.#failures, maxDelayMs);
    this.#failures++;
    return Math.round(delayMs * (1 - random() / 2));
  }

  /** Begins again with the first delay. */
  reset(): void {
    this.#failures = 0;
  }
}
