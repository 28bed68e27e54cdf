import { randomBytes } from "node:crypto";
import type { Clock, Instant } from "../controller/ports.ts";

/** The machine's clocks, and its random numbers. */
export const systemClock: Clock = {
  now: () => ({ epochMs: Date.now(), monotonicMs: performance.now() }),
  nonce: () => randomBytes(16).toString("hex"),
};

/** Both times of a moment that was noted by performance.now(). */
export function instantOf(monotonicMs: number): Instant {
  const now = systemClock.now();
  return { monotonicMs, epochMs: now.epochMs - (now.monotonicMs - monotonicMs) };
}
