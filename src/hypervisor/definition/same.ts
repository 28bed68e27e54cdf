import { metadataOf, withMetadata, withoutMarks } from "../metadata.ts";
import type { XmlElement, XmlNode } from "../xml/element.ts";
import { formatXml } from "../xml/format.ts";

/**
 * Whether two domains' XML, both as libvirt gives it, say the same: less the marks of this program, the order of
 * attributes, of metadata and of controllers, and the white space between elements. Controllers are known by their
 * type and index, and libvirt puts those that it adds anywhere among them; of other devices the first can be the one
 * to boot from.
 */
export function isSameDomain(one: XmlElement, other: XmlElement): boolean {
  return canonicalDomain(one) === canonicalDomain(other);
}

function canonicalDomain(domain: XmlElement): string {
  const plain = withoutMarks(domain);
  const metadata = metadataOf(plain).map(({ element }) => formatXml(withoutOrder(element)));
  return [formatXml(withoutOrder(withMetadata(plain, []))), ...metadata.sort()].join("\n");
}

function withoutOrder({ name, attributes, children }: XmlElement): XmlElement {
  const sorted = Object.entries(attributes).sort(([one], [other]) => (one < other ? -1 : 1));
  const meaningful = children
    .filter((node) => typeof node !== "string" || node.trim() !== "")
    .map((node): XmlNode => (typeof node === "string" ? node : withoutOrder(node)));
  return {
    name,
    attributes: Object.fromEntries(sorted),
    children: name === "devices" ? withControllersSorted(meaningful) : meaningful,
  };
}

function withControllersSorted(devices: readonly XmlNode[]): XmlNode[] {
  const controllers = devices
    .filter(isController)
    .sort((one, other) => (formatXml(one) < formatXml(other) ? -1 : 1));
  return [...devices.filter((node) => !isController(node)), ...controllers];
}

function isController(node: XmlNode): node is XmlElement {
  return typeof node !== "string" && node.name === "controller";
}
