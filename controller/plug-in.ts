import type { Ruling, Subject } from "./decision.ts";
import type { Outcome } from "./ports.ts";

/**
 * How long to wait before a disk is tried again, in milliseconds: one that libvirt would not plug in, and one whose try
 * only fell into a lost connection or another job of the domain. A try may be what ends libvirtd, so that neither is
 * made at once.
 */
const refusedAgainMs = 600_000;
const unansweredAgainMs = 60_000;

/**
 * A disk that the running boot was started without comes back as soon as it can be had, where libvirt can plug it in;
 * otherwise the next restart brings it.
 */
export function plugIn({ virtualMachine, domain, attempt, plugInsFromMs, now }: Subject): Ruling | undefined {
  if (attempt !== undefined || domain.kind !== "Present" || domain.domain.state !== "Running")
    return undefined;
  const { absentDisks = [], findings } = domain.next ?? {};
  if (findings === undefined || virtualMachine.spec.suspend) return undefined;
  const back = virtualMachine.status.detachedVolumes?.find(({ disk }) => {
    if (now.monotonicMs < (plugInsFromMs.get(disk) ?? Number.NEGATIVE_INFINITY)) return false;
    return absentDisks.includes(disk) && !findings.some((finding) => finding.disk === disk);
  });
  if (back === undefined) return undefined;
  const note = `disk ${back.disk} can be had again and is plugged in`;
  return {
    verdict: {
      kind: "Act",
      effect: { kind: "AttachDisk", disk: back.disk },
      reason: "DiskPluggedIn",
      message: note,
      announce: true,
      notice: { type: "Normal", reason: "DiskPluggedIn", action: "PlugIn", note },
    },
  };
}

/** From when on a disk may be plugged in again after a try that ended so; milliseconds of the monotonic clock. */
export function plugInAgainFromMs(outcome: Outcome, endedAtMs: number): number {
  const isSaid = outcome.kind === "Done" || (outcome.kind === "Refused" && outcome.cause !== "Busy");
  return endedAtMs + (isSaid ? refusedAgainMs : unansweredAgainMs);
}
