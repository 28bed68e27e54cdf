import { constants } from "node:os";

/** A terminal signals npm and this process, and npm passes its own on: that is one wish, not two. */
const SAME_WISH_MS = 1000;

/** The signals that ask a program to end. */
export type EndingSignal = "SIGHUP" | "SIGINT" | "SIGTERM";

/**
 * Calls back when somebody asks this process to end, with the exit code that says so. Whoever asks again ends it at
 * once; what it has started ends with it all the same.
 */
export function onInterruption(callback: (exitCode: number, signal: EndingSignal) => void): void {
  let askedAtMs: number | undefined;
  for (const name of ["SIGHUP", "SIGINT", "SIGTERM"] as const) {
    process.on(name, () => {
      const exitCode = 128 + constants.signals[name];
      if (askedAtMs === undefined) {
        askedAtMs = performance.now();
        callback(exitCode, name);
      } else if (performance.now() - askedAtMs > SAME_WISH_MS) process.exit(exitCode);
    });
  }
}
