import type { Connection } from "../connection/connection.ts";
import { LibvirtError } from "../errors.ts";
import { events } from "../protocol/events.ts";
import type { EventProcedure } from "../protocol/procedure.ts";
import { procedures } from "../protocol/procedures.ts";
import type { DaemonEvent, HypervisorInfo } from "./session-event.ts";
import { subscriptions } from "./subscriptions.ts";

/**
 * Asks for all events and hands them on from the first. Throws when not even the lifecycle events are to be had.
 *
 * It asks for one after the other: when a client goes, libvirtd frees its registrations without regard to those that
 * it is still carrying out, and with several at once it was seen to die of that (9.0.0).
 */
export async function subscribe(
  connection: Connection,
  onEvent: (event: DaemonEvent) => void,
): Promise<void> {
  for (const { event, listen } of subscriptions) {
    listen(connection, onEvent);
    await register(connection, event);
  }
}

async function register(connection: Connection, event: EventProcedure<unknown>): Promise<void> {
  try {
    await connection.call(event.registration, { eventId: event.eventId });
  } catch (cause) {
    // A driver or a daemon that does not know an event can do without it, and so can one that has no networks, storage,
    // devices or secrets, or finds the daemon of theirs not running; without lifecycle it would be blind.
    if (event === events.lifecycle || !(cause instanceof LibvirtError)) {
      throw cause;
    }
  }
}

/** Asks what is at the other end. */
export async function describeHypervisor(connection: Connection): Promise<HypervisorInfo> {
  const [{ hostname }, { libVer }, { uri }] = await Promise.all([
    connection.call(procedures.connectGetHostname, {}),
    connection.call(procedures.connectGetLibVersion, {}),
    connection.call(procedures.connectGetUri, {}),
  ]);
  return { hostname, libVersion: formatVersion(libVer), uri };
}

/** libvirt counts versions as major * 1,000,000 + minor * 1,000 + release. */
export function formatVersion(version: bigint): string {
  return `${version / 1_000_000n}.${(version / 1_000n) % 1_000n}.${version % 1_000n}`;
}
