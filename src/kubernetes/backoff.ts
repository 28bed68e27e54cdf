/** Growing delays between attempts that fail, see {@link Backoff}. */
export interface BackoffOptions {
  /** The first delay before jitter. */
  baseMs: number;
  /** No delay is longer than this. */
  maxMs: number;
  /** A number in [0, 1); replaced in tests. */
  random?: () => number;
}

/**
 * Exponential backoff: each delay is twice the one before it, up to a maximum, of which a random
 * half is taken off: many controllers that lost one API server do not come back in step.
 */
export class Backoff {
  readonly #baseMs: number;
  readonly #maxMs: number;
  readonly #random: () => number;
  #failures = 0;

  constructor(options: BackoffOptions) {
    this.#baseMs = options.baseMs;
    this.#maxMs = options.maxMs;
    this.#random = options.random ?? Math.random;
  }

  /** Counts a failure and says how long to wait before the next attempt, in milliseconds. */
  next(): number {
    const delayMs = exponentialDelay(this.#baseMs, this.#maxMs, this.#failures);
    this.#failures += 1;
    return delayMs * (1 - this.#random() / 2);
  }

  /** Forgets the failures: the next delay is the first one again. */
  reset(): void {
    this.#failures = 0;
  }
}

/** `baseMs` doubled once per failure so far, at most `maxMs`. */
export function exponentialDelay(baseMs: number, maxMs: number, failures: number): number {
  // 2^1024 is Infinity, which the minimum turns into the maximum.
  return Math.min(maxMs, baseMs * 2 ** failures);
}
