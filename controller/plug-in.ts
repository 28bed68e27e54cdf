import type { Ruling, Subject } from "./decision.ts";

/** How long to wait before a disk that libvirt would not plug in is tried again, in milliseconds. */
const againMs = 600_000;

/**
 * A disk that the running boot was started without comes back as soon as it can be had, where libvirt can plug it in;
 * otherwise the next restart brings it.
 */
export function plugIn({ virtualMachine, domain, attempt, plugInsAtMs, now }: Subject): Ruling | undefined {
  if (attempt !== undefined || domain.kind !== "Present" || domain.domain.state !== "Running")
    return undefined;
  const { absentDisks = [], findings } = domain.next ?? {};
  if (findings === undefined || virtualMachine.spec.suspend) return undefined;
  const back = virtualMachine.status.detachedVolumes?.find(({ disk }) => {
    const triedAtMs = plugInsAtMs.get(disk) ?? Number.NEGATIVE_INFINITY;
    if (now.monotonicMs < triedAtMs + againMs) return false;
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
