import { at, attribute } from "../xml/element.ts";
import { onlySide, type Difference } from "./difference.ts";

const roots = new Set(["pci-root", "pcie-root"]);
const bridges = new Set(["pcie-to-pci-bridge", "dmi-to-pci-bridge", "pci-bridge"]);

/**
 * Leaves out the PCI ports and bridges that come or go with the devices that are plugged into them: libvirt makes them
 * when it finds a place for a device. More of them than such devices are told, as somebody's spare ports. A machine of
 * another type has all of them anew.
 */
export function withoutPortsOfDevices(differences: readonly Difference[]): Difference[] {
  if (differences.some((one) => isPort(one) && roots.has(modelOf(one)))) {
    return differences.filter((one) => !isPort(one));
  }
  const sides = (["running", "next"] as const).filter((side) => {
    const alone = differences.filter((one) => onlySide(one) === side);
    const ports = alone.filter((one) => isPort(one) && !bridges.has(modelOf(one)));
    const devices = alone.filter((one) => isPciDevice(one) && !isPort(one));
    return devices.length > 0 && ports.length <= devices.length;
  });
  return differences.filter((one) => !isPort(one) || !sides.some((side) => onlySide(one) === side));
}

function isPort({ kind, place }: Difference): boolean {
  const isController = kind === "Element" && place.path === "devices/controller";
  return isController && attribute(place.running ?? place.next, "type") === "pci";
}

function modelOf({ place }: Difference): string {
  return attribute(place.running ?? place.next, "model") ?? "";
}

function isPciDevice({ kind, place }: Difference): boolean {
  const isDevice = kind === "Element" && place.parent?.path === "devices";
  return isDevice && attribute(at(place.running ?? place.next, "address"), "type") === "pci";
}
