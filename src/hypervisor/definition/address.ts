import { at, attribute, type XmlElement } from "../xml/element.ts";

/** The address of a device that says where it is; undefined where it has none, or leaves the choice to libvirt. */
export function addressOf(device: XmlElement): XmlElement | undefined {
  const address = at(device, "address");
  const says = Object.keys(address?.attributes ?? {}).some(
    (name) => name !== "type" && name !== "multifunction",
  );
  return says ? address : undefined;
}

/** The kind of a device's address, such as "pci", also where it says no more than that. */
export function addressType(device: XmlElement): string | undefined {
  return attribute(at(device, "address"), "type");
}

/**
 * What a device occupies by its address, in words that are the same for the same place; undefined where it has none.
 * Drives have an address on their own bus.
 */
export function placeOf(device: XmlElement): string | undefined {
  const address = addressOf(device);
  if (address === undefined) return undefined;
  const { type = "", multifunction: _, ...rest } = address.attributes;
  const parts = significant(rest);
  const bus = type === "drive" ? (busOf(device) ?? "scsi") : "";
  return [type, bus, ...parts].join(" ");
}

/** The bus of a PCI address, which is the index of the PCI controller that the device is plugged into. */
export function pciBusOf(device: XmlElement): number | undefined {
  const address = addressOf(device);
  if (attribute(address, "type") !== "pci") return undefined;
  const bus = numberOf(attribute(address, "bus") ?? "0");
  return typeof bus === "number" ? bus : undefined;
}

/** The device with this address instead of its own. */
export function withAddress(device: XmlElement, address: XmlElement): XmlElement {
  const { children } = withoutAddress(device);
  return { ...device, children: [...children, address] };
}

/** The device without its address. */
export function withoutAddress(device: XmlElement): XmlElement {
  const children = device.children.filter((node) => typeof node === "string" || node.name !== "address");
  return { ...device, children };
}

/** Beginnings of a disk's target and the bus that libvirt takes it for. */
const busOfTarget: readonly (readonly [prefix: string, bus: string])[] = [
  ["vd", "virtio"],
  ["sd", "scsi"],
  ["hd", "ide"],
  ["fd", "fdc"],
  ["xvd", "xen"],
  ["ubd", "uml"],
];

/** The bus of a disk, as it or its target says; undefined for another device. */
export function busOf(device: XmlElement): string | undefined {
  if (device.name !== "disk") return undefined;
  const target = at(device, "target");
  const dev = attribute(target, "dev") ?? "";
  return attribute(target, "bus") ?? busOfTarget.find(([prefix]) => dev.startsWith(prefix))?.[1];
}

/** What tells one host device from another: its source, whatever way its numbers are written in. */
export function sourceKey(source: XmlElement | undefined): string {
  if (source === undefined) return "";
  const attributes = significant(source.attributes);
  const children = source.children.map((node) => (typeof node === "string" ? node.trim() : sourceKey(node)));
  return `<${[source.name, ...attributes].join(" ")}>${children.join("")}`;
}

/** What attributes say, in an order of its own: libvirt leaves out, and takes as 0, what is 0. */
function significant(attributes: Readonly<Record<string, string>>): string[] {
  const values = Object.entries(attributes).map(([name, value]) => [name, numberOf(value)] as const);
  return values.flatMap(([name, value]) => (value === 0 ? [] : [`${name}=${value}`])).sort();
}

/** A number as libvirt reads it, in whatever base; any other text as it is. */
function numberOf(text: string): number | string {
  const number = Number(text);
  return text.trim() === "" || Number.isNaN(number) ? text : number;
}
