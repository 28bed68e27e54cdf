import type { Finding } from "../../../controller/finding.ts";
import type { XmlElement } from "../xml/element.ts";
import type { Caller } from "../caller.ts";
import { HostCalls } from "./host-calls.ts";
import { hostDeviceFindings } from "./host-devices.ts";
import type { Machine, PreflightContext } from "./machine.ts";
import { memoryFindings } from "./memory.ts";
import { networkFindings } from "./networks.ts";
import { platformFindings } from "./platform.ts";
import { secretFindings } from "./secrets.ts";
import { storageFindings } from "./storage.ts";

/** What is looked at before a start, in the order in which it is told. */
const checks: readonly ((machine: Machine, calls: HostCalls) => Promise<Finding[]>)[] = [
  // The emulator, the machine type, KVM, and firmware that libvirt is to choose.
  platformFindings,
  // Memory that the host does not have.
  memoryFindings,
  // Disks with their chains, pools, declared volumes; kernel, firmware and other files.
  storageFindings,
  // Keys to disks, servers and TPMs.
  secretFindings,
  // Virtual networks, bridges, interfaces of the host, filters.
  networkFindings,
  // PCI, USB, SCSI and mediated devices.
  hostDeviceFindings,
];

/**
 * Looks at everything that the next start of a domain needs, as far as libvirt tells of it without starting anything.
 * `xml` is what that start will use. What libvirt cannot tell is no finding. Rejects as Session.call does where no
 * answer came.
 */
export async function preflight(
  session: Caller,
  xml: XmlElement,
  context: PreflightContext,
): Promise<Finding[]> {
  const machine = { ...context, xml };
  const calls = new HostCalls(session);
  return (await Promise.all(checks.map((check) => check(machine, calls)))).flat();
}
