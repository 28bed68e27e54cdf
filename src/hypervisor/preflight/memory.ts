import { ALL_CELLS, procedures } from "libvirt";
import type { Finding } from "../../../controller/finding.ts";
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

/** libvirt's units of memory in bytes. */
const bytesOfUnit: ReadonlyMap<string, bigint> = new Map([
  ["b", 1n],
  ["bytes", 1n],
  ...["k", "M", "G", "T", "P", "E"].flatMap((prefix, index): [string, bigint][] => [
    [`${prefix}B`, 1000n ** BigInt(index + 1)],
    [prefix, 1024n ** BigInt(index + 1)],
    [`${prefix === "k" ? "K" : prefix}iB`, 1024n ** BigInt(index + 1)],
  ]),
  ["KB", 1000n],
  ["K", 1024n],
]);

/** The memory that a domain begins with, in KiB; undefined where it does not say a number. */
export function memoryOf(xml: XmlElement): bigint | undefined {
  const memory = at(xml, "memory");
  const number = textOf(memory);
  const unit = bytesOfUnit.get(attribute(memory, "unit") ?? "KiB");
  if (number === undefined || !/^[0-9]{1,20}$/.test(number) || unit === undefined) return undefined;
  return (BigInt(number) * unit) / 1024n;
}

function min(one: bigint, other: bigint): bigint {
  return one < other ? one : other;
}

function inMiB(kiB: bigint): string {
  return `${kiB / 1024n} MiB`;
}
