import type { Effect } from "./ports.ts";

/** Whether an effect disturbs a guest or begins to. Starting a guest, what that needs, and putting on record does not. */
export function disturbsGuest({ kind }: Effect): boolean {
  switch (kind) {
    case "Mark":
    case "Shutdown":
    case "Reboot":
    case "Destroy":
    case "Reset":
    case "Wake":
    case "Resume":
      return true;
    case "Start":
    case "Release":
    case "Settle":
    case "Repair":
    case "Define":
    case "RollBack":
    case "AttachDisk":
      return false;
    default:
      return kind satisfies never;
  }
}

/** Whether an effect is owed to what has been done already: what a process that is to end still does. */
export function isOwed({ kind }: Effect): boolean {
  return kind === "Start" || kind === "RollBack" || kind === "Release" || kind === "Settle";
}
