import { LibvirtError, XmlFlag } from "libvirt";
import { addressOf, withoutAddress } from "./definition/address.ts";
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
 * Gives the running boot a disk as the configuration has it, where its address is free or elsewhere. Rejects with a
 * DefinitionError where the configuration has no such disk, and otherwise as a call does.
 */
export async function attachDisk(calls: DomainCalls, target: string): Promise<void> {
  const xml = await calls.xml(XmlFlag.Inactive | XmlFlag.Secure);
  const disk = childElements(at(xml, "devices"), "disk").find((one) => targetOf(one) === target);
  if (disk === undefined) throw new DefinitionError(`the domain's configuration has no disk ${target}`);
  try {
    await calls.attach(disk);
  } catch (error) {
    if (!(error instanceof LibvirtError) || addressOf(disk) === undefined) throw error;
    // Not every place of a machine takes a disk while it runs.
    await calls.attach(withoutAddress(disk));
  }
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
