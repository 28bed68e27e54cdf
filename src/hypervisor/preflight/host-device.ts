import { at, attribute, childElements, textOf, type XmlElement } from "../xml/element.ts";
import { devicesOf, type Located } from "./machine.ts";

/** A device of the host, as a domain's XML names it. */
export type HostDevice =
  | { kind: "PCI"; address: string }
  | { kind: "USB"; bus: number; device: number }
  | { kind: "USBModel"; vendor: number; product: number }
  | { kind: "SCSI"; address: string }
  | { kind: "Mediated"; uuid: string };

/** A host device that is given to a machine. */
export interface AssignedDevice extends Located {
  device: HostDevice;
  /** Whether libvirt takes it from its driver on the host, and gives it back. */
  isManaged: boolean;
  /** Whether libvirt starts the domain without it where it is not there. */
  isOptional: boolean;
}

/** The host devices of a domain, as far as they can be found among those of the host. */
export function assignedDevices(xml: XmlElement): AssignedDevice[] {
  const hostdevs = devicesOf(xml, "hostdev");
  const interfaces = devicesOf(xml, "interface").filter(
    ({ element }) => attribute(element, "type") === "hostdev",
  );
  return [...hostdevs, ...interfaces].flatMap(({ element, path }) => {
    const source = at(element, "source");
    const device = deviceOf(element, source);
    if (device === undefined) return [];
    return {
      element,
      path: `${path}/source`,
      device,
      isManaged: attribute(element, "managed") === "yes",
      isOptional: attribute(source, "startupPolicy") === "optional",
    };
  });
}

function deviceOf(hostdev: XmlElement, source: XmlElement | undefined): HostDevice | undefined {
  const address = at(source, "address");
  const type = hostdev.name === "interface" ? attribute(address, "type") : attribute(hostdev, "type");
  switch (type) {
    case "pci":
      return pciDevice(address);
    case "usb":
      return usbDevice(source, address);
    case "scsi":
      return scsiDevice(source, address);
    case "mdev": {
      const uuid = attribute(address, "uuid");
      return uuid === undefined ? undefined : { kind: "Mediated", uuid: uuid.toLowerCase() };
    }
    default:
      return undefined;
  }
}

/** A number of XML, such as 0x1f or 31; undefined where there is none. */
function numberOf(element: XmlElement | undefined, name: string): number | undefined {
  const value = Number(attribute(element, name) ?? Number.NaN);
  return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/** A PCI address such as "0000:00:1f.2", from its numbers in XML. */
function pciDevice(address: XmlElement | undefined): HostDevice | undefined {
  const domain = numberOf(address, "domain") ?? 0;
  const [bus, slot, fn] = ["bus", "slot", "function"].map((name) => numberOf(address, name));
  if (bus === undefined || slot === undefined || fn === undefined) return undefined;
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");
  return { kind: "PCI", address: `${hex(domain, 4)}:${hex(bus, 2)}:${hex(slot, 2)}.${hex(fn, 1)}` };
}

function usbDevice(source: XmlElement | undefined, address: XmlElement | undefined): HostDevice | undefined {
  const [bus, device] = [numberOf(address, "bus"), numberOf(address, "device")];
  if (bus !== undefined && device !== undefined) return { kind: "USB", bus, device };
  const vendor = numberOf(at(source, "vendor"), "id");
  const product = numberOf(at(source, "product"), "id");
  return vendor === undefined || product === undefined ? undefined : { kind: "USBModel", vendor, product };
}

/** A SCSI device behind an adapter that is told by its name; one behind iSCSI is on a server. */
function scsiDevice(source: XmlElement | undefined, address: XmlElement | undefined): HostDevice | undefined {
  const host = /^scsi_host([0-9]+)$/.exec(attribute(at(source, "adapter"), "name") ?? "")?.[1];
  const [bus, target, unit] = ["bus", "target", "unit"].map((name) => numberOf(address, name));
  if (host === undefined || bus === undefined || target === undefined || unit === undefined) return undefined;
  return { kind: "SCSI", address: `${host}:${bus}:${target}:${unit}` };
}

/** A device in words. */
export function describeDevice(device: HostDevice): string {
  switch (device.kind) {
    case "PCI":
      return `PCI device ${device.address}`;
    case "USB":
      return `USB device ${device.device} on bus ${device.bus}`;
    case "USBModel":
      return `USB device ${usbId(device.vendor)}:${usbId(device.product)}`;
    case "SCSI":
      return `SCSI device ${device.address}`;
    case "Mediated":
      return `mediated device ${device.uuid}`;
    default:
      return device satisfies never;
  }
}

function usbId(id: number): string {
  return id.toString(16).padStart(4, "0");
}

/** A device of the host as libvirt describes it, as far as machines name such. */
export interface NodeDevice {
  name: string;
  /** The host's driver that has it; undefined where none does, or none is told. */
  driver: string | undefined;
  /** Whether it is there, and not only defined. */
  isActive: boolean;
  /** What it is called by in domains. */
  isNamedBy: (device: HostDevice) => boolean;
}

/** Reads the description of a node device. */
export function readNodeDevice(xml: XmlElement): NodeDevice {
  const name = textOf(at(xml, "name")) ?? "";
  const capability = childElements(xml, "capability")[0];
  const text = (of: string) => numberOfText(at(capability, of));
  return {
    name,
    driver: textOf(at(xml, "driver", "name")),
    isActive: true,
    isNamedBy: (device) => {
      if (device.kind === "USB") return text("bus") === device.bus && text("device") === device.device;
      if (device.kind !== "USBModel") return false;
      const id = (of: string) => numberOf(at(capability, of), "id");
      return id("vendor") === device.vendor && id("product") === device.product;
    },
  };
}

function numberOfText(element: XmlElement | undefined): number | undefined {
  const text = textOf(element);
  return text === undefined ? undefined : Number(text);
}
