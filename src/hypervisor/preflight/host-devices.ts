import { ListDomainsFlag, ListNodeDevicesFlag, procedures, XmlFlag } from "libvirt";
import type { Finding } from "../../../controller/finding.ts";
import {
  assignedDevices,
  describeDevice,
  readNodeDevice,
  type AssignedDevice,
  type HostDevice,
  type NodeDevice,
} from "./host-device.ts";
import { readAnswer, type HostCalls } from "./host-calls.ts";
import type { Machine } from "./machine.ts";

/** How many running domains are asked for what they have been given. */
const mostDomains = 512;

/** Drivers that only hold a device ready for guests. */
const stubDrivers = new Set(["pci-stub", "pciback", "xen-pciback"]);

/** So do vfio's own driver and its variants for single devices, such as mlx5_vfio_pci. */
function isStub(driver: string): boolean {
  return stubDrivers.has(driver) || driver.includes("vfio");
}

/** Devices of the host that are not there, or that somebody else has. Nothing is asked for a machine without one. */
export async function hostDeviceFindings(machine: Machine, calls: HostCalls): Promise<Finding[]> {
  const assigned = assignedDevices(machine.xml);
  if (assigned.length === 0) return [];
  const devices = new NodeDevices(calls);
  const [holders, findings] = await Promise.all([
    holdersOf(machine, calls),
    Promise.all(assigned.map((one) => presenceFinding(one, devices))),
  ]);
  const inUse = assigned.map((one) => holderFinding(one, holders));
  return [...findings, ...inUse].filter((finding) => finding !== undefined);
}

type Found = NodeDevice | "Absent" | "Untold";

/** The host's devices, as libvirt names them. */
class NodeDevices {
  readonly #calls: HostCalls;

  constructor(calls: HostCalls) {
    this.#calls = calls;
  }

  /** "Untold" where libvirt has no driver that knows devices, or knows none. */
  async find(device: HostDevice): Promise<Found> {
    switch (device.kind) {
      case "PCI":
        return this.#named(`pci_${device.address.replaceAll(/[:.]/g, "_")}`);
      case "SCSI":
        return this.#named(`scsi_${device.address.replaceAll(":", "_")}`);
      case "USB":
      case "USBModel":
        return this.#usb(device);
      case "Mediated":
        return this.#mediated(device.uuid);
      default:
        return device satisfies never;
    }
  }

  async #named(name: string): Promise<Found> {
    const found = await this.#calls.find(procedures.nodeDeviceLookupByName, { name }, "NO_NODE_DEVICE");
    return found.kind === "Found" ? this.#read(name) : found.kind;
  }

  async #read(name: string): Promise<NodeDevice | "Untold"> {
    const answer = await this.#calls.ask(procedures.nodeDeviceGetXmlDesc, { name, flags: 0 });
    const xml = answer && readAnswer(answer.xml);
    return xml === undefined ? "Untold" : readNodeDevice(xml);
  }

  async #names(flags: number): Promise<string[] | undefined> {
    const answer = await this.#calls.ask(procedures.connectListAllNodeDevices, { needResults: 1, flags });
    return answer?.devices.map(({ name }) => name);
  }

  /** libvirt names a USB device by its place in the host's tree, which no machine says. */
  async #usb(device: HostDevice): Promise<Found> {
    const names = await this.#names(ListNodeDevicesFlag.Usb);
    if (names === undefined) return "Untold";
    for (const name of names) {
      const found = await this.#read(name);
      if (found !== "Untold" && found.isNamedBy(device)) return found;
    }
    return "Absent";
  }

  /** libvirt puts the parent behind the UUID in newer versions, and lists those that are only defined since 7.3. */
  async #mediated(uuid: string): Promise<Found> {
    const prefix = `mdev_${uuid.replaceAll("-", "_")}`;
    const find = (names: readonly string[]) =>
      names.find((one) => one === prefix || one.startsWith(`${prefix}_`));
    const { Mdev, Active, Inactive } = ListNodeDevicesFlag;
    // The flag of what is active is the highest bit, which an OR would make a negative number.
    const active = (await this.#names(Mdev + Active)) ?? (await this.#names(Mdev));
    if (active === undefined) return "Untold";
    const name = find(active);
    if (name !== undefined) return mediatedDevice(name, true);
    const defined = find((await this.#names(Mdev + Inactive)) ?? []);
    return defined === undefined ? "Absent" : mediatedDevice(defined, false);
  }
}

function mediatedDevice(name: string, isActive: boolean): NodeDevice {
  return { name, driver: undefined, isActive, isNamedBy: () => true };
}

async function presenceFinding(
  { device, path, isManaged, isOptional }: AssignedDevice,
  devices: NodeDevices,
): Promise<Finding | undefined> {
  const found = await devices.find(device);
  if (found === "Untold") return undefined;
  const what = describeDevice(device);
  if (found === "Absent") {
    if (isOptional) return undefined;
    return {
      reason: "DeviceMissing",
      path,
      message: `the host has no ${what}`,
      remedy: "plug it in, or define the machine without it",
    };
  }
  if (!found.isActive)
    return {
      reason: "DeviceInactive",
      path,
      message: `${what} is defined and not active`,
      remedy: `start it: virsh nodedev-start ${found.name}`,
      repair: { kind: "StartDevice", device: found.name },
    };
  if (device.kind !== "PCI" || isManaged || found.driver === undefined || isStub(found.driver))
    return undefined;
  return {
    reason: "DeviceNotDetached",
    path,
    message: `${what} is in use by the host's driver ${found.driver}, and the machine does not let libvirt take it`,
    remedy: `detach it, virsh nodedev-detach ${found.name}, or define it with managed='yes'`,
  };
}

/** A device that a running domain has been given. */
interface Holding {
  domain: string;
  device: HostDevice;
}

/** What the other running domains have been given. */
async function holdersOf({ domain }: Machine, calls: HostCalls): Promise<Holding[]> {
  const args = { needResults: 1, flags: ListDomainsFlag.Active };
  const answer = await calls.ask(procedures.connectListAllDomains, args);
  const others = (answer?.domains ?? []).filter(({ uuid }) => uuid !== domain.uuid).slice(0, mostDomains);
  const holdings = others.map(async (dom) => {
    const described = await calls.ask(procedures.domainGetXmlDesc, { dom, flags: XmlFlag.None });
    const xml = described && readAnswer(described.xml);
    const devices = xml === undefined ? [] : assignedDevices(xml);
    return devices.map(({ device }) => ({ domain: dom.name, device }));
  });
  return (await Promise.all(holdings)).flat();
}

function holderFinding({ device, path }: AssignedDevice, holders: readonly Holding[]): Finding | undefined {
  const holder = holders.find((one) => isSame(one.device, device));
  if (holder === undefined) return undefined;
  return {
    reason: "DeviceInUse",
    path,
    message: `${describeDevice(device)} is in use by domain ${holder.domain}`,
    remedy: `take it from domain ${holder.domain}, or define the machine with another one`,
  };
}

/** Models of USB devices say nothing: a host may have several of one. */
function isSame(one: HostDevice, other: HostDevice): boolean {
  return one.kind === other.kind && one.kind !== "USBModel" && describeDevice(one) === describeDevice(other);
}
