import assert from "node:assert/strict";

import { Session } from "libvirt";
import type { SessionEvent, SessionOptions } from "libvirt";

type EventOf<T extends SessionEvent["type"]> = Extract<SessionEvent, { type: T }>;

/** A session that has been started, and whose events are taken one after the other. */
export class Heard implements AsyncDisposable {
  readonly session: Session;
  readonly #events: SessionEvent[] = [];
  #wake: () => void = () => {};

  constructor(uri: string, options: Omit<SessionOptions, "listener"> = {}) {
    const listener = (event: SessionEvent) => {
      this.#events.push(event);
      this.#wake();
    };
    this.session = new Session(uri, { ...options, listener });
    this.session.start();
  }

  /** The events that nobody has taken yet. */
  get pending(): readonly SessionEvent[] {
    return this.#events;
  }

  /** Takes the next event, which must be of this type. */
  async next<T extends SessionEvent["type"]>(type: T): Promise<EventOf<T>> {
    const event = await this.#take();
    assert.equal(event.type, type, JSON.stringify(event));
    return event as EventOf<T>;
  }

  /** Takes the next event of this type, and all before it. */
  async until<T extends SessionEvent["type"]>(
    type: T,
    accepts: (event: EventOf<T>) => boolean = () => true,
  ): Promise<EventOf<T>> {
    for (;;) {
      const event = await this.#take();
      if (event.type === type && accepts(event as EventOf<T>)) {
        return event as EventOf<T>;
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.session.close();
  }

  async #take(): Promise<SessionEvent> {
    let event = this.#events.shift();
    while (event === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      event = this.#events.shift();
    }
    return event;
  }
}
