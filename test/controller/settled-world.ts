import type { RestartRecord } from "../../crds/restart.ts";
import { World } from "../simulation/world.ts";

/** A world whose first sight is over: what happens from here on is a request's doing. */
export async function settledWorld(...made: ConstructorParameters<typeof World>): Promise<World> {
  const world = new World(...made);
  // Long enough for an agent to connect; a world of which nothing is asked rests anyway.
  await world.settle(60_000);
  world.api.writes.length = 0;
  return world;
}

/** A condition's status and reason, or "absent". */
export function condition(world: World, type: string): string {
  const found = world.status.conditions?.find((one) => one.type === type);
  return found === undefined ? "absent" : `${found.status} ${found.reason}`;
}

/** All that was done to the domain, in order. */
export function effects(world: World): string {
  return world.hypervisor.effects.join(" ");
}

/** How the boots so far have ended; undefined for the one that runs. */
export function ends(world: World): (string | undefined)[] {
  return world.hypervisor.boots.map(({ end }) => end);
}

/** How the last restart ended, in one line: the result with the method, and the reason where it is not the usual one. */
export function lastRestart(world: World): string {
  const record = world.status.lastRestart;
  return record === undefined ? "none" : told(record);
}

/** How every restart of the history ended, the newest first. */
export function history(world: World): string[] {
  return (world.status.history ?? []).map((record) => told(record));
}

function told({ result, method, reason }: RestartRecord): string {
  return [result, method, reason === "Restarted" ? undefined : reason]
    .filter((word) => word !== undefined)
    .join(" ");
}
