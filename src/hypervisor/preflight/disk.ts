import { at, attribute, childElements, type XmlElement } from "../xml/element.ts";
import { devicesOf, type Located } from "./machine.ts";

/** A disk of a machine, of whatever kind. */
export interface Disk extends Located {
  /** What names it in the machine, such as "vdb". */
  target: string;
  source: XmlElement | undefined;
  /** Its format, in libvirt's words; what says nothing is raw. */
  format: string;
  /** Whether the machine boots from it, so that it makes no sense without it. */
  isBoot: boolean;
  /** Whether libvirt starts the domain without it where it cannot be had. */
  isOptional: boolean;
}

/** The disks of a domain, in their order; without the drives that have no medium. */
export function disksOf(xml: XmlElement): Disk[] {
  const disks = devicesOf(xml, "disk");
  const boot = bootDisks(xml, disks);
  return disks.flatMap((disk) => {
    const source = at(disk.element, "source");
    const target = attribute(at(disk.element, "target"), "dev");
    if (source === undefined || target === undefined) return [];
    return {
      ...disk,
      target,
      source,
      format: attribute(at(disk.element, "driver"), "type") ?? "raw",
      isBoot: boot.has(disk),
      isOptional: attribute(source, "startupPolicy") === "optional",
    };
  });
}

/** The target of a disk that the machine could be started without; undefined for one that it boots from. */
export function sparable({ target, isBoot }: Disk): string | undefined {
  return isBoot ? undefined : target;
}

/**
 * What the machine may boot from: the first of its boot order, and in any case its first hard disk of that order, or
 * else its first one. A kernel that libvirt loads has its files there, too.
 */
function bootDisks(xml: XmlElement, disks: readonly Located[]): Set<Located> {
  const byOrder = disks
    .filter((disk) => Number.isFinite(bootOrder(disk)))
    .sort((one, other) => bootOrder(one) - bootOrder(other));
  const devices = childElements(at(xml, "os"), "boot").map((boot) => attribute(boot, "dev"));
  const firstCdrom = devices[0] === "cdrom" && !devices.includes("hd") ? disks.find(isCdrom) : undefined;
  const firstHardDisk = byOrder.find(isHardDisk) ?? disks.find(isHardDisk);
  return new Set([byOrder[0], firstCdrom, firstHardDisk].filter((disk) => disk !== undefined));
}

function bootOrder({ element }: Located): number {
  const order = attribute(at(element, "boot"), "order");
  return order === undefined ? Number.POSITIVE_INFINITY : Number(order);
}

function deviceOf({ element }: Located): string {
  return attribute(element, "device") ?? "disk";
}

function isCdrom(disk: Located): boolean {
  return deviceOf(disk) === "cdrom";
}

function isHardDisk(disk: Located): boolean {
  return deviceOf(disk) === "disk" || deviceOf(disk) === "lun";
}
