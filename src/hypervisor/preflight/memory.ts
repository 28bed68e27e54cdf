import { ALL_CELLS, procedures } from "libvirt";
import type { Finding } from "../../../controller/finding.ts";
import { inBytes } from "../quantity.ts";
import { at, attribute, textOf, type XmlElement } from "../xml/element.ts";
import type { HostCalls } from "./host-calls.ts";
import type { Machine } from "./machine.ts";

/** How many numbers libvirt tells on Linux. */
const statistics = 4;

/**
 * Memory that the host does not have. A guest's memory is handed out as it is touched, and more of it may be promised
 * than is free: of such a guest only what exceeds all memory of the host is told. One whose memory is allocated at its
 * start must have it free, and what the running boot holds becomes free before that.
 */
export async function memoryFindings({ xml, liveXml }: Machine, calls: HostCalls): Promise<Finding[]> {
  const needed = memoryOf(xml);
  // Huge pages are set aside by the host and counted elsewhere.
  if (needed === undefined || at(xml, "memoryBacking", "hugepages") !== undefined) return [];
  const host = await hostMemory(calls);
  if (host === undefined) return [];
  const own = liveXml === undefined ? 0n : (memoryOf(liveXml) ?? 0n);
  const available = isAllocatedAtOnce(xml) ? min(host.available + own, host.total) : host.total;
  if (needed <= available) return [];
  return [
    {
      reason: "MemoryShort",
      path: "memory",
      message: `the machine needs ${inMiB(needed)} of memory, and the host can give ${inMiB(available)}`,
      remedy: "free memory on the hypervisor, or define the machine with less",
    },
  ];
}

function isAllocatedAtOnce(xml: XmlElement): boolean {
  const backing = at(xml, "memoryBacking");
  return attribute(at(backing, "allocation"), "mode") === "immediate" || at(backing, "locked") !== undefined;
}

/** In KiB, with what the host would take out of its caches. */
async function hostMemory(calls: HostCalls): Promise<{ total: bigint; available: bigint } | undefined> {
  const args = { nparams: statistics, cellNum: ALL_CELLS, flags: 0 };
  const answer = await calls.ask(procedures.nodeGetMemoryStats, args);
  const values = new Map(answer?.params.map(({ field, value }) => [field, value]));
  const total = values.get("total");
  const free = values.get("free");
  if (total === undefined || free === undefined) return undefined;
  return { total, available: free + (values.get("buffers") ?? 0n) + (values.get("cached") ?? 0n) };
}

/** The memory that a domain begins with, in KiB; undefined where it does not say a number. */
function memoryOf(xml: XmlElement): bigint | undefined {
  const memory = at(xml, "memory");
  const bytes = inBytes(textOf(memory) ?? "", attribute(memory, "unit") ?? "KiB");
  return bytes === undefined ? undefined : bytes / 1024n;
}

function min(one: bigint, other: bigint): bigint {
  return one < other ? one : other;
}

function inMiB(kiB: bigint): string {
  return `${kiB / 1024n} MiB`;
}
