import type { KubernetesClient } from "./client.ts";
import type { Clock } from "./clock.ts";
import { isTranslated, MalformedResponseError, UnreachableError } from "./errors.ts";
import { LineSplitter, LineTooLongError } from "./lines.ts";
import { type KubernetesObject, resourcePath, type ResourceType } from "./resource.ts";
import { apiErrorOfEvent } from "./status-response.ts";
import { unreachable } from "./unreachable.ts";

/** A line holds one object; see client.ts for how large those may be. */
const LONGEST_LINE_BYTES = 16 * 2 ** 20;

/** One event of a watch. A bookmark says only how far the watch has come. */
export type WatchEvent =
  | { type: "ADDED" | "MODIFIED" | "DELETED"; object: KubernetesObject }
  | { type: "BOOKMARK"; resourceVersion: string };

/** What to watch, from where on, and for how long. */
export interface WatchOptions {
  namespace?: string | undefined;
  labelSelector?: string | undefined;
  fieldSelector?: string | undefined;
  /** Everything that happened after it is delivered. */
  resourceVersion: string;
  /** How long the API server lets the watch live. */
  timeoutSeconds: number;
  /** A watch on which no byte came for this long is given up: the connection may be half open. */
  inactivityMs: number;
  /** Called once, when the API server has accepted the watch. */
  onOpen?: () => void;
  clock: Clock;
  signal: AbortSignal;
}

/**
 * Watches a collection until the API server ends it in good order.
 *
 * Throws an ApiError (refused, or an ERROR event; {@link ApiError.expired} means list again), an
 * UnreachableError (cut, or silent for too long), a MalformedResponseError, or the reason of the signal.
 * Events that came before the failure have been delivered: go on from the last one's resourceVersion.
 */
export async function* watch(
  client: KubernetesClient,
  type: ResourceType,
  options: WatchOptions,
): AsyncGenerator<WatchEvent, void, undefined> {
  const { namespace, labelSelector, fieldSelector, resourceVersion, timeoutSeconds, signal } = options;
  const path = resourcePath(type, { namespace });
  const request = `watch ${path}`;
  const query = { labelSelector, fieldSelector, resourceVersion, timeoutSeconds };
  const body = await client.stream(path, { watch: true, allowWatchBookmarks: true, ...query }, { signal });
  options.onOpen?.();
  const silence = new Silence(options, () => {
    // If this connection is half open, so may be the idle ones beside it.
    client.reconnect();
    body.destroy(new UnreachableError(client.server, "Silent", `no word for ${options.inactivityMs} ms`));
  });
  const lines = new LineSplitter(LONGEST_LINE_BYTES);
  try {
    for await (const chunk of body) {
      silence.broken();
      for (const line of lines.push(chunk)) yield eventOf(line, request);
    }
  } catch (error) {
    throw translated(error, client.server, request, signal);
  } finally {
    silence.end();
    // A consumer that stopped early leaves the answer unread: the connection is not worth keeping.
    body.destroy();
  }
  signal.throwIfAborted();
  if (lines.unfinished) throw new UnreachableError(client.server, "Truncated", "the answer ended in a line");
}

/** Calls back once nothing was heard for too long. One timer per period, not one per chunk. */
class Silence {
  readonly #clock: Clock;
  readonly #limitMs: number;
  readonly #onSilence: () => void;
  #heardAtMs: number;
  #cancel: () => void;

  constructor({ clock, inactivityMs }: Pick<WatchOptions, "clock" | "inactivityMs">, onSilence: () => void) {
    this.#clock = clock;
    this.#limitMs = inactivityMs;
    this.#onSilence = onSilence;
    this.#heardAtMs = clock.now();
    this.#cancel = this.#look(inactivityMs);
  }

  broken(): void {
    this.#heardAtMs = this.#clock.now();
  }

  end(): void {
    this.#cancel();
  }

  #look(inMs: number): () => void {
    return this.#clock.after(inMs, () => {
      const silentMs = this.#clock.now() - this.#heardAtMs;
      if (silentMs >= this.#limitMs) this.#onSilence();
      else this.#cancel = this.#look(this.#limitMs - silentMs);
    });
  }
}

function eventOf(line: string, request: string): WatchEvent {
  const { type, object } = fieldsOf(parsed(line, request));
  switch (type) {
    case "ADDED":
    case "MODIFIED":
    case "DELETED":
      if (isObject(object)) return { type, object };
      break;
    case "BOOKMARK": {
      const { resourceVersion } = fieldsOf(fieldsOf(object)["metadata"]);
      if (typeof resourceVersion === "string") return { type, resourceVersion };
      break;
    }
    case "ERROR":
      throw apiErrorOfEvent(request, object);
    default:
  }
  throw new MalformedResponseError(request, "UnexpectedShape", "a line is not an event of a watch");
}

function parsed(line: string, request: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw new MalformedResponseError(request, "NotJson", "a line is not JSON");
  }
}

/** Only what a cache cannot do without is looked at. */
function isObject(object: unknown): object is KubernetesObject {
  const { name, resourceVersion } = fieldsOf(fieldsOf(object)["metadata"]);
  return typeof name === "string" && typeof resourceVersion === "string";
}

function fieldsOf(value: unknown): Record<string, unknown> {
  // No copy: this runs for every event.
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function translated(error: unknown, server: string, request: string, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (error instanceof LineTooLongError)
    return new MalformedResponseError(request, "TooLarge", error.message);
  return isTranslated(error) ? error : unreachable(server, error);
}
