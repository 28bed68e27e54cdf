import { EventEmitter, on } from "node:events";
import { Session, type DomainEvent } from "libvirt";

/** What libvirt tells of its domains, heard on a connection of the test's own. */
export interface LifecycleEvents extends AsyncDisposable {
  /** Resolves at the next event of this kind about a domain, or at once if there was one. */
  happened(domain: string, event: "Started" | "Stopped"): Promise<void>;
}

/** Begins to listen; resolves when nothing that happens from now on is missed. */
export async function listenToDomains(uri: string): Promise<LifecycleEvents> {
  const connected = Promise.withResolvers<void>();
  const told = new EventEmitter();
  const heard: DomainEvent[] = [];
  const session = new Session(uri, {
    listener: (event) => {
      if (event.type === "Connected") connected.resolve();
      else if (event.type === "Disconnected") connected.reject(event.error);
      else {
        heard.push(event);
        told.emit("event", event);
      }
    },
  });
  session.start();
  await connected.promise;
  return {
    async happened(domain, event) {
      const fits = (one: DomainEvent) =>
        one.type === "Lifecycle" && one.event === event && one.domain.name === domain;
      if (heard.some(fits)) return;
      for await (const [one] of on(told, "event") as AsyncIterable<[DomainEvent]>) if (fits(one)) return;
    },
    [Symbol.asyncDispose]: () => session.close(),
  };
}
