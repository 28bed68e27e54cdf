import type { Domain, Instant } from "./ports.ts";

/** Why an attempt has to wait, in a word and in words. */
export interface Obstacle {
  reason: string;
  message: string;
}

/** A paused or suspended guest hears no signal: that is known at once, not after a timeout. */
export function deafness({ state, reason }: Domain): Obstacle | undefined {
  if (state === "Paused") {
    return { reason: "GuestPaused", message: `the guest is paused (${reason}) and cannot hear a signal` };
  }
  if (state === "PMSuspended") {
    return {
      reason: "GuestSuspended",
      message: "the guest is suspended and cannot hear a signal: wake it up",
    };
  }
  return undefined;
}

/** A boot that lives on, on disk or on another host: starting the domain here would make a second copy of it. */
export function lifeElsewhere({ id, reason }: Domain): Obstacle | undefined {
  if (id !== undefined) return undefined;
  switch (reason) {
    case "Saved":
      return {
        reason: "DomainSaved",
        message: "the guest's memory is saved on disk: start the domain, or remove the saved image",
      };
    case "Migrated":
      return {
        reason: "DomainMigrated",
        message: "the domain was migrated away and may run on another host",
      };
    default:
      return undefined;
  }
}

/** When to look again at what no event tells of, such as the removal of a saved image: in a minute. */
export function lookAgainMs({ monotonicMs }: Instant): number {
  return monotonicMs + 60_000;
}
