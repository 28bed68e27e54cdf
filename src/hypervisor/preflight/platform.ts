import { procedures, type ErrorCodeName } from "libvirt";
import type { Finding } from "../../../controller/finding.ts";
import { at, attribute, childElements, textOf, type XmlElement } from "../xml/element.ts";
import { readAnswer, type HostCalls } from "./host-calls.ts";
import type { Machine } from "./machine.ts";

/** What libvirt is asked whether it can run it. */
interface Platform {
  emulatorbin: string | undefined;
  arch: string | undefined;
  machine: string | undefined;
  virttype: string | undefined;
}

/** Emulator, machine type, virtualisation and automatic firmware: whether libvirt can run such a domain here. */
export async function platformFindings({ xml }: Machine, calls: HostCalls): Promise<Finding[]> {
  const os = at(xml, "os", "type");
  const platform: Platform = {
    emulatorbin: textOf(at(xml, "devices", "emulator")),
    arch: attribute(os, "arch"),
    machine: attribute(os, "machine"),
    virttype: attribute(xml, "type"),
  };
  const answer = await capabilitiesOf(platform, calls);
  if (answer.kind === "Found") return firmwareFindings(xml, readAnswer(answer.result.capabilities));
  // A driver that does not tell, or a right that is not given, says nothing of the machine.
  if (answer.kind === "Absent" || !refusals.has(answer.error.code)) return [];
  return [await refusalFinding(platform, answer.error.message, calls)];
}

/** libvirt's answers to what it cannot run. */
const refusals: ReadonlySet<ErrorCodeName> = new Set(["INVALID_ARG", "SYSTEM_ERROR", "CONFIG_UNSUPPORTED"]);

function capabilitiesOf(platform: Platform, calls: HostCalls) {
  return calls.find(procedures.connectGetDomainCapabilities, { ...platform, flags: 0 });
}

/** Which part is not supported: asked again with less, because libvirt says it in its message alone. */
async function refusalFinding(platform: Platform, message: string, calls: HostCalls): Promise<Finding> {
  const { emulatorbin, arch, machine, virttype } = platform;
  const without = (left: Partial<Platform>) => capabilitiesOf({ ...platform, ...left }, calls);
  const emulator = await without({ machine: undefined, virttype: undefined });
  if (emulator.kind !== "Found")
    return {
      reason: "EmulatorMissing",
      path: emulatorbin === undefined ? "os/type/@arch" : "devices/emulator",
      message: `the emulator ${emulatorbin ?? `for ${arch ?? "this host"}`} cannot be used: ${message}`,
      remedy: "install the emulator, or define the machine with one that is installed",
    };
  const type = await without({ machine: undefined });
  if (type.kind !== "Found")
    return {
      reason: "VirtualizationUnsupported",
      path: "@type",
      message: `virtualisation of type ${virttype ?? "unknown"} is not supported: ${message}`,
      remedy: "enable it on the hypervisor (for kvm: its module, and virtualisation in the firmware)",
    };
  return {
    reason: "MachineUnsupported",
    path: "os/type/@machine",
    message: `machine type ${machine ?? "unknown"} is not supported: ${message}`,
    remedy:
      "define the machine with a type that virsh domcapabilities lists, or install the emulator that has it",
  };
}

/** Firmware that libvirt is to choose itself. */
function firmwareFindings(xml: XmlElement, capabilities: XmlElement | undefined): Finding[] {
  const firmware = attribute(at(xml, "os"), "firmware");
  const offered = childElements(at(capabilities, "os"), "enum").find(
    (one) => attribute(one, "name") === "firmware",
  );
  if (firmware === undefined || offered === undefined) return [];
  if (childElements(offered, "value").some((value) => textOf(value) === firmware)) return [];
  return [
    {
      reason: "FirmwareMissing",
      path: "os/@firmware",
      message: `no firmware of type ${firmware} is installed for this machine type`,
      remedy: `install firmware of type ${firmware} on the hypervisor`,
    },
  ];
}
