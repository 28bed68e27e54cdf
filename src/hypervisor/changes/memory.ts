import { at, attribute, childElements, textOf, type XmlElement, type XmlNode } from "../xml/element.ts";
import { inBytes } from "../quantity.ts";

/** Elements below the domain's whose sizes are in KiB where they name no unit. */
const sizes = new Set(["memory", "currentMemory", "maxMemory"]);

const mebibyte = 2n ** 20n;

/**
 * A domain with its memory as a start makes it: every NUMA cell and every module is rounded up to what the machine can
 * have, and the whole is their sum. What runs already is as it is.
 */
export function withMemoryOfStart(domain: XmlElement): XmlElement {
  const whole = bytesOf(at(domain, "memory"));
  if (whole === undefined) return domain;
  const grain = isPseries(domain) ? 256n * mebibyte : mebibyte;
  const moduleGrain = isPseries(domain) ? grain : 2n * mebibyte;
  const modules = childElements(at(domain, "devices"), "memory");
  const before = sum(modules.map((module) => moduleBytes(module) ?? 0n));
  const after = sum(modules.map((module) => moduleBytes(roundModule(module, moduleGrain)) ?? 0n));
  const cells = childElements(at(domain, "cpu", "numa"), "cell").map(cellBytes);
  const base =
    cells.length === 0 ? roundUp(whole - before, grain) : sum(cells.map((cell) => roundUp(cell, grain)));
  const memory = base + after;
  const isAll = bytesOf(at(domain, "currentMemory")) === whole;
  return mapElements(domain, (node) => {
    switch (node.name) {
      case "memory":
        return withBytes(node, memory);
      case "currentMemory":
        return withBytes(node, isAll ? memory : bytesOf(node));
      case "maxMemory":
        return withBytes(node, roundUp(bytesOf(node), grain));
      case "cpu":
        return mapNamed(node, "numa", (numa) => mapNamed(numa, "cell", (cell) => roundCell(cell, grain)));
      case "devices":
        return mapNamed(node, "memory", (module) => roundModule(module, moduleGrain));
      default:
        return node;
    }
  });
}

function isPseries(domain: XmlElement): boolean {
  return attribute(at(domain, "os", "type"), "machine")?.startsWith("pseries") === true;
}

function roundUp(bytes: bigint, grain: bigint): bigint;
function roundUp(bytes: bigint | undefined, grain: bigint): bigint | undefined;
function roundUp(bytes: bigint | undefined, grain: bigint): bigint | undefined {
  return bytes === undefined ? undefined : ((bytes + grain - 1n) / grain) * grain;
}

function sum(all: readonly bigint[]): bigint {
  return all.reduce((total, one) => total + one, 0n);
}

function bytesOf(node: XmlElement | undefined): bigint | undefined {
  const unit = attribute(node, "unit") ?? (node !== undefined && sizes.has(node.name) ? "KiB" : undefined);
  return unit === undefined ? undefined : inBytes(textOf(node) ?? "", unit);
}

function withBytes(node: XmlElement, bytes: bigint | undefined): XmlElement {
  if (bytes === undefined) return node;
  return { ...node, attributes: { ...node.attributes, unit: "bytes" }, children: [String(bytes)] };
}

function cellBytes(cell: XmlElement): bigint {
  return inBytes(attribute(cell, "memory") ?? "", attribute(cell, "unit") ?? "KiB") ?? 0n;
}

function roundCell(cell: XmlElement, grain: bigint): XmlElement {
  if (attribute(cell, "memory") === undefined) return cell;
  const memory = String(roundUp(cellBytes(cell), grain));
  return { ...cell, attributes: { ...cell.attributes, memory, unit: "bytes" } };
}

function moduleBytes(module: XmlElement): bigint | undefined {
  return bytesOf(at(module, "target", "size"));
}

function roundModule(module: XmlElement, grain: bigint): XmlElement {
  const bytes = moduleBytes(module);
  if (bytes === undefined || attribute(module, "model") !== "dimm") return module;
  return mapNamed(module, "target", (target) =>
    mapNamed(target, "size", (size) => withBytes(size, roundUp(bytes, grain))),
  );
}

function mapNamed(parent: XmlElement, name: string, change: (node: XmlElement) => XmlElement): XmlElement {
  return mapElements(parent, (node) => (node.name === name ? change(node) : node));
}

function mapElements(parent: XmlElement, change: (node: XmlElement) => XmlElement): XmlElement {
  const children = parent.children.map((node): XmlNode => (typeof node === "string" ? node : change(node)));
  return { ...parent, children };
}
