import {
  at,
  attribute,
  childElements,
  element,
  textOf,
  type XmlElement,
  type XmlNode,
} from "../xml/element.ts";
import { withMemoryOfStart } from "./memory.ts";
import { sizeInWords } from "../quantity.ts";

/** Attributes that are sizes where their element has a unit. */
const sizeAttributes = new Set(["memory", "size"]);

/**
 * A domain's XML in a form in which what means the same is the same: sizes in words instead of in units and rounded as
 * a start rounds them, lists whose order is their meaning as one text, and disks that libvirt lays a temporary file over
 * as they are configured.
 */
export function canonical(domain: XmlElement): XmlElement {
  return {
    ...domain,
    children: withMemoryOfStart(domain).children.map((node) => {
      if (typeof node === "string") return node;
      switch (node.name) {
        case "os":
          return withBootOrder(withSizes(node));
        case "qemu:commandline":
          return element(node.name, node.attributes, [inOneText(node)]);
        case "vcpu":
          return withCurrent(node);
        case "devices":
          return { ...node, children: node.children.map((device) => canonicalDevice(device)) };
        default:
          return withSizes(node);
      }
    }),
  };
}

function canonicalDevice(device: XmlNode): XmlNode {
  if (typeof device === "string") return device;
  return withSizes(device.name === "disk" ? withoutOverlay(device) : device);
}

/** Says each size in words; `unit` is that of the element where it names none. */
function withSizes(node: XmlElement, unit = attribute(node, "unit")): XmlElement {
  const children = node.children.map((child) => (typeof child === "string" ? child : withSizes(child)));
  const text = textOf(node);
  const size = unit === undefined || text === undefined ? undefined : sizeInWords(text, unit);
  const sizes = Object.entries(node.attributes).flatMap(([name, value]) => {
    const words = unit !== undefined && sizeAttributes.has(name) ? sizeInWords(value, unit) : undefined;
    return words === undefined ? [] : [[name, words] as const];
  });
  if (size === undefined && sizes.length === 0) return { ...node, children };
  const { unit: _, ...attributes } = node.attributes;
  return {
    ...node,
    attributes: { ...attributes, ...Object.fromEntries(sizes) },
    children: size === undefined ? children : [size, ...childElements({ ...node, children })],
  };
}

/** The devices to boot from as one list: only their order means something. */
function withBootOrder(os: XmlElement): XmlElement {
  const boots = childElements(os, "boot");
  if (boots.length === 0 || !boots.every((boot) => hasOnly(boot, "dev"))) return os;
  const order = boots.map((boot) => attribute(boot, "dev")).join(", ");
  const others = os.children.filter((node) => typeof node === "string" || node.name !== "boot");
  return { ...os, children: [...others, element("boot", {}, [order])] };
}

function hasOnly({ attributes, children }: XmlElement, name: string): boolean {
  return children.length === 0 && Object.keys(attributes).join(" ") === name;
}

/** Everything inside an element as one text, in its order. */
function inOneText(node: XmlElement): string {
  const inside = childElements(node).map((child) => [
    child.name,
    Object.entries(child.attributes),
    inOneText(child),
  ]);
  return JSON.stringify([textOf(node), inside]);
}

/** All of the processors are switched on where no number of them is said to be. */
function withCurrent(vcpu: XmlElement): XmlElement {
  const current = attribute(vcpu, "current") ?? textOf(vcpu);
  return current === undefined ? vcpu : { ...vcpu, attributes: { ...vcpu.attributes, current } };
}

/**
 * While a domain runs, a disk that is <transient/> is a temporary file over what is configured, which is the first
 * image below it.
 */
function withoutOverlay(disk: XmlElement): XmlElement {
  const below = at(disk, "backingStore");
  const file = attribute(at(disk, "source"), "file") ?? "";
  const source = at(below, "source");
  if (at(disk, "transient") === undefined || source === undefined || !file.includes(".TRANSIENT"))
    return disk;
  const format = attribute(at(below, "format"), "type");
  const type = attribute(below, "type");
  return {
    ...disk,
    attributes: { ...disk.attributes, ...(type === undefined ? {} : { type }) },
    children: childElements(disk).flatMap((child) => {
      if (child.name === "source") return [source];
      if (child.name === "backingStore") return [];
      if (child.name !== "driver" || format === undefined) return [child];
      return [{ ...child, attributes: { ...child.attributes, type: format } }];
    }),
  };
}
