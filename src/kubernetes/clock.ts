/** Time as this adapter sees it, so that tests can make it pass. */
export interface Clock {
  /** Milliseconds that only ever grow, from an arbitrary start: a step of the system's time does not matter. */
  now(): number;
  /** Calls back once after at least `delayMs`; the returned function prevents it. */
  after(delayMs: number, callback: () => void): () => void;
}

/** The longest delay that Node's timers take; beyond it they fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The real time. Its timers keep the process alive. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, Math.min(delayMs, LONGEST_TIMER_MS));
    return () => clearTimeout(timer);
  },
};

/** Resolves after `delayMs`, or as soon as the signal aborts: the caller looks at the signal. Never rejects. */
export function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const finish = () => {
      cancel();
      signal.removeEventListener("abort", finish);
      resolve();
    };
    const cancel = clock.after(delayMs, finish);
    signal.addEventListener("abort", finish);
  });
}
