import { isTranslated } from "./errors.ts";
import { deadlineExceeded, unreachable } from "./unreachable.ts";

/** What ends an operation before it ends by itself. */
export interface Bounds {
  /** The caller's: the operation then rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Milliseconds for all of it. */
  deadlineMs: number;
  /** The API server's URL, for the error. */
  server: string;
}

/**
 * Runs an operation on the API server within its bounds, and translates what it throws into the
 * errors of this adapter. The bounds hold even where the operation does not look at its signal.
 */
export async function within<T>(bounds: Bounds, operation: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { signal: caller, deadlineMs, server } = bounds;
  caller?.throwIfAborted();
  const controller = new AbortController();
  const stopped = Promise.withResolvers<never>();
  const stop = (reason: unknown) => {
    stopped.reject(reason);
    controller.abort(reason);
  };
  const abort = () => stop(caller?.reason);
  const timer = setTimeout(() => stop(deadlineExceeded(server, deadlineMs)), deadlineMs);
  caller?.addEventListener("abort", abort);
  try {
    const result = operation(controller.signal);
    // What the operation does after it was given up is nobody's business.
    result.catch(() => {});
    return await Promise.race([result, stopped.promise]);
  } catch (error) {
    if (controller.signal.aborted) throw controller.signal.reason;
    throw isTranslated(error) ? error : unreachable(server, error);
  } finally {
    clearTimeout(timer);
    caller?.removeEventListener("abort", abort);
  }
}
