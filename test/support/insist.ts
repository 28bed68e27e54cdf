import { setTimeout as delay } from "node:timers/promises";
import { CallHeldError, CallTimeoutError, ConnectionError } from "libvirt";
import { ApiError, UnreachableError } from "../../src/kubernetes/errors.ts";

/** A server that is away tells nobody when it is back: one asks. */
const againMs = 200;

const away = [UnreachableError, ConnectionError, CallTimeoutError, CallHeldError];

/** Does something that may be done twice; what fails because a server is away is done again until it is back. */
export async function insist<T>(attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!isAway(error)) throw error;
      await delay(againMs);
    }
  }
}

function isAway(error: unknown): boolean {
  if (error instanceof ApiError) return error.code >= 500 || error.code === 429;
  return away.some((kind) => error instanceof kind);
}
