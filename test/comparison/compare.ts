/**
 * Performs the situations in which OpenStack Nova's libvirt driver was seen to go wrong, with the real controller on a
 * real API server, a real libvirtd and real guests, and prints a Markdown table of what happened.
 *
 *     npm run compare [-- number ...]
 */
import { cpus } from "node:os";
import { onInterruption } from "../support/interruption.ts";
import { toStderr } from "../support/report.ts";
import { setUp } from "../support/setup.ts";
import { startSite, type Site } from "../support/site.ts";
import { cases, type Seen, type Stage } from "./cases.ts";

const parts = new AsyncDisposableStack();
onInterruption((exitCode) => {
  void parts.disposeAsync().then(() => process.exit(exitCode));
});

const chosen = process.argv.slice(2).map(Number);
await setUp(toStderr);
const site = parts.use(await startSite());
const stage: Stage = { site, controller: parts.use(await site.startController()) };
const rows: string[][] = [];
for (const [index, one] of cases.entries()) {
  if (chosen.length > 0 && !chosen.includes(index + 1)) continue;
  toStderr(`${index + 1}. ${one.situation} ...`);
  // One after the other: they are timed, and one restarts libvirtd.
  const seen = await one.perform(stage, `case-${index + 1}`);
  rows.push([`${index + 1}`, one.situation, one.nova, ...cells(seen)]);
}
console.log(`${await circumstances(site)}\n`);
console.log(
  table([["", "situation", "Nova 34", "Warmboot", "request to result", "guest off", "evidence"], ...rows]),
);
await parts.disposeAsync();
process.exit();

function cells({ restart, boots, remarks = [] }: Seen): string[] {
  const { result, method, reason, message, forcedBecause, evidence, request } = restart;
  const took = Date.parse(restart.endedAt) - Date.parse(request.requestedAt);
  const how = result === "Succeeded" ? (method ?? "method unknown") : reason;
  const words = [
    `**${result}**, ${how}`,
    // The directory of this run means nothing to a reader.
    ...(result === "Succeeded" ? [] : [message.replaceAll(`${site.libvirtd.directory}/`, "")]),
    ...(forcedBecause === undefined ? [] : [forcedBecause]),
    ...remarks,
    boots === 1 ? "no further boot" : `${boots - 1} new boot${boots === 2 ? "" : "s"}`,
  ];
  return [
    words.join("; "),
    seconds(took),
    restart.downtimeMilliseconds === undefined ? "–" : seconds(restart.downtimeMilliseconds),
    evidence.join(", ") || "–",
  ];
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

/** When and on what it was measured. */
async function circumstances({ libvirtd, api, kvm }: Site): Promise<string> {
  const versions = await libvirtd.virsh("version");
  const version = (what: RegExp) => what.exec(versions)?.[1] ?? "of unknown version";
  const kubernetes = /Server Version: v(\S+)/.exec(await api.kubectl("version"))?.[1];
  const processors = cpus();
  return (
    `Measured on ${new Date().toISOString().slice(0, 10)} with libvirt ${version(/libvirt (\S+)/)}, ` +
    `QEMU ${version(/hypervisor: QEMU (\S+)/)} ${kvm ? "on KVM" : "without KVM"}, ` +
    `Kubernetes ${kubernetes}, Node ${process.versions.node}, ` +
    `on ${processors.length} cores (${processors[0]?.model.trim()}).`
  );
}

function table([head = [], ...body]: string[][]): string {
  const line = (row: string[]) => `| ${row.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...body.map(line)].join("\n");
}
