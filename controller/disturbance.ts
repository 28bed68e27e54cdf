import type { Effect } from "./ports.ts";

/**
 * Whether an effect disturbs a guest or begins to: what a process that is to end does not begin any more, and what
 * nobody does to a guest that another process may still be working on. Starting a guest and putting on record is not.
 */
export function disturbsGuest({ kind }: Effect): boolean {
  switch (kind) {
    case "Mark":
    case "Shutdown":
    case "Reboot":
    case "Destroy":
    case "Reset":
    case "Wake":
    case "Resume":
    case "Repair":
    case "Define":
    case "AttachDisk":
      return true;
    case "Start":
    case "Release":
    case "Settle":
    case "RollBack":
      return false;
    default:
      return kind satisfies never;
  }
}
