import { LibvirtError, XmlFlag } from "libvirt";
import { DefinitionError } from "./definition/definition-error.ts";
import type { DomainCalls } from "./domain-calls.ts";
import { at, attribute, childElements, type XmlElement, type XmlNode } from "./xml/element.ts";

/**
 * Boots a domain without some of its disks, which stay in its configuration. A saved image is discarded: the memory in
 * it knows these disks. Rejects as a call does.
 */
export async function startWithout(calls: DomainCalls, disks: readonly string[]): Promise<void> {
  const xml = await calls.xml(XmlFlag.Inactive | XmlFlag.Secure);
  if (await calls.hasSavedImage()) await calls.removeSavedImage();
  await calls.createFrom(withoutDisks(xml, new Set(disks)));
}

/**
 * Gives the running boot a disk as the configuration has it, as far as that boot takes it: where its address takes no
 * disk while it runs, elsewhere, and without its turn at booting where the boot goes by other rules. Rejects with a
 * DefinitionError where the configuration has no such disk, and otherwise as a call does.
 */
export async function attachDisk(calls: DomainCalls, target: string): Promise<void> {
  const xml = await calls.xml(XmlFlag.Inactive | XmlFlag.Secure);
  const disk = childElements(at(xml, "devices"), "disk").find((one) => targetOf(one) === target);
  if (disk === undefined) throw new DefinitionError(`the domain's configuration has no disk ${target}`);
  await attachAny(calls, [disk, without(disk, "address"), without(disk, "address", "boot")]);
}

/** Where libvirt refuses them all, what it says to the last counts, which asks for the least. */
async function attachAny(calls: DomainCalls, devices: readonly XmlElement[]): Promise<void> {
  let refusal: LibvirtError | undefined;
  for (const device of devices) {
    try {
      // The next is for a refusal of this one.
      await calls.attach(device);
      return;
    } catch (error) {
      if (!(error instanceof LibvirtError)) throw error;
      refusal = error;
    }
  }
  throw refusal ?? new Error("there is no device to attach");
}

function without(device: XmlElement, ...names: string[]): XmlElement {
  const isKept = (node: XmlNode) => typeof node === "string" || !names.includes(node.name);
  return { ...device, children: device.children.filter(isKept) };
}

function withoutDisks(domain: XmlElement, targets: ReadonlySet<string>): XmlElement {
  const isLeftOut = (node: XmlNode) =>
    typeof node !== "string" && node.name === "disk" && targets.has(targetOf(node) ?? "");
  const devices = at(domain, "devices");
  return {
    ...domain,
    children: domain.children.map((node) =>
      node === devices && devices !== undefined
        ? { ...devices, children: devices.children.filter((one) => !isLeftOut(one)) }
        : node,
    ),
  };
}

function targetOf(disk: XmlElement): string | undefined {
  return attribute(at(disk, "target"), "dev");
}
