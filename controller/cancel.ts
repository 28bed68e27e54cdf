import type { RestartRequest } from "../crds/restart.ts";
import { annotations, type VirtualMachine } from "../crds/virtual-machine.ts";
import { shortened } from "../crds/shortened.ts";
import type { Decision } from "./decision.ts";
import type { Notice } from "./notice.ts";
import { names } from "./request.ts";

/** So much of what somebody wrote is told. */
const longestQuote = 80;

/**
 * What is told of a `cancel` that takes nothing back, once: when it is written. `before` is the resource as it was looked
 * at last; what it says at first sight may be as old as the request that it took back.
 */
export function noticeOfCancel(
  before: VirtualMachine | undefined,
  { metadata, status }: VirtualMachine,
  { attempt, trigger }: Decision,
): Notice | undefined {
  const value = metadata.annotations[annotations.cancel] ?? "";
  if (before === undefined || value === "" || value === before.metadata.annotations[annotations.cancel])
    return undefined;
  const waiting = attempt?.request ?? (trigger.kind === "Requested" ? trigger.request : undefined);
  const isNamed = waiting !== undefined && names(value, waiting);
  if (trigger.kind === "Cancelled" && attempt?.touched !== true) return undefined;
  const ended = [
    { restartToken: status.observedRestartToken, restartGeneration: status.observedRestartGeneration },
    ...(status.history ?? []).map(({ request }) => request),
  ];
  const quoted = JSON.stringify(shortened(value, longestQuote));
  const why = isNamed
    ? "that restart has begun, and a guest that has been asked cannot be asked back"
    : ended.some((request) => names(value, { requestedAt: "", ...request }))
      ? "that request has ended"
      : `there is no such request${waiting === undefined || attempt?.touched === true ? "" : `; ${nameOf(waiting)} waits`}`;
  const note = `the annotation ${annotations.cancel} names ${quoted} and takes nothing back: ${why}`;
  return { type: "Warning", reason: "CancelIgnored", action: "Ignore", note };
}

/** What a request can be taken back by. */
function nameOf({ restartToken, restartGeneration }: RestartRequest): string {
  return restartToken === undefined
    ? String(restartGeneration)
    : JSON.stringify(shortened(restartToken, longestQuote));
}
