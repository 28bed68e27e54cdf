import type { Frame } from "../protocol/frame.ts";
import type { EventProcedure } from "../protocol/procedure.ts";
import type { Codec } from "../xdr/codec.ts";
import { decodeWhole } from "../xdr/decode.ts";

/** Takes an event. `receivedAtMs` is the time of the read from the socket, as performance.now() counts. */
export type EventListener<P> = (payload: P, receivedAtMs: number) => void;

interface Entry {
  readonly payload: Codec<unknown>;
  readonly listeners: Set<EventListener<unknown>>;
}

/** Who listens for which event. */
export class EventListeners {
  readonly #entries = new Map<number, Entry>();

  /** Adds a listener; the returned function removes it. */
  add<P>(event: EventProcedure<P>, listener: EventListener<P>): () => void {
    const entry = this.#entries.get(event.number) ?? { payload: event.payload, listeners: new Set() };
    this.#entries.set(event.number, entry);
    const untyped = listener as EventListener<unknown>;
    entry.listeners.add(untyped);
    return () => entry.listeners.delete(untyped);
  }

  /**
   * Decodes an event and hands it to its listeners; one that nobody listens for is dropped undecoded.
   * Throws ProtocolError when it cannot be decoded: an event that is lost makes all that follow doubtful.
   */
  deliver(frame: Frame, receivedAtMs: number): void {
    const entry = this.#entries.get(frame.procedure);
    if (entry === undefined || entry.listeners.size === 0) {
      return;
    }
    const payload = decodeWhole(entry.payload, frame.payload);
    for (const listener of entry.listeners) {
      callSafely(() => listener(payload, receivedAtMs));
    }
  }
}

/** A listener that throws is its owner's fault: it must surface, and must not cost the events that follow. */
export function callSafely(call: () => void): void {
  try {
    call();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
