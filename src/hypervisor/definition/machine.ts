import { at, attribute, element, type XmlElement } from "../xml/element.ts";

/** Aliases of a machine type beside the names that its versions begin with, where they differ. */
const familyOfAlias: Readonly<Record<string, string>> = { pc: "pc-i440fx", q35: "pc-q35" };

/**
 * The family of a machine type, in which only versions differ: "pc-q35" of "pc-q35-7.2", of "pc-q35-rhel9.4.0" and of
 * the alias "q35".
 */
function machineFamily(machine: string): string {
  const alias = familyOfAlias[machine];
  return alias ?? /^(.+?)-[a-z]*[0-9][^-]*$/.exec(machine)?.[1] ?? namedAfterRelease(machine);
}

/** Distributions name versions after their releases, such as "pc-q35-jammy". */
function namedAfterRelease(machine: string): string {
  return Object.values(familyOfAlias).find((family) => machine.startsWith(`${family}-`)) ?? machine;
}

/** Whether what the one has assigned is good for the other: PCI addresses mean slots of one machine. */
export function isSameMachine(one: XmlElement, other: XmlElement): boolean {
  const [type, otherType] = [typeOf(one), typeOf(other)];
  return (
    agree(attribute(type, "arch"), attribute(otherType, "arch")) && agree(familyOf(type), familyOf(otherType))
  );
}

/**
 * What `<os>` says of the machine, with what the domain has where the definition is silent, or names no version: a
 * guest that finds itself on another machine may not boot, and libvirt takes the newest one.
 */
export function keepMachine(definition: XmlElement, current: XmlElement): XmlElement {
  const [type, currentType] = [typeOf(definition), typeOf(current)];
  if (type === undefined || currentType === undefined) return definition;
  const arch = attribute(type, "arch") ?? attribute(currentType, "arch");
  if (arch !== attribute(currentType, "arch")) return definition;
  const machine = machineToKeep(attribute(type, "machine"), attribute(currentType, "machine"));
  const kept = element("type", { ...type.attributes, arch, machine }, type.children);
  return replaceType(definition, kept);
}

function machineToKeep(wanted: string | undefined, current: string | undefined): string | undefined {
  if (wanted === undefined || current === undefined) return wanted ?? current;
  const isAlias = Object.hasOwn(familyOfAlias, wanted) || wanted === machineFamily(wanted);
  return isAlias && machineFamily(wanted) === machineFamily(current) ? current : wanted;
}

function replaceType(domain: XmlElement, type: XmlElement): XmlElement {
  const os = at(domain, "os");
  const first = typeOf(domain);
  const inside = os?.children.map((node) => (node === first ? type : node)) ?? [];
  return {
    ...domain,
    children: domain.children.map((node) => (node === os ? { ...os, children: inside } : node)),
  };
}

function typeOf(domain: XmlElement): XmlElement | undefined {
  return at(domain, "os", "type");
}

function familyOf(type: XmlElement | undefined): string | undefined {
  const machine = attribute(type, "machine");
  return machine === undefined ? undefined : machineFamily(machine);
}

/** Who is silent agrees. */
function agree(one: string | undefined, other: string | undefined): boolean {
  return one === undefined || other === undefined || one === other;
}
