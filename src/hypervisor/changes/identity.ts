import { at, attribute, childElements, type XmlElement } from "../xml/element.ts";

/** The attribute by which one of several elements of a name is told from the others, wherever they are. */
const keys: ReadonlyMap<string, string> = new Map([
  ["cell", "id"],
  ["entry", "name"],
  ["feature", "name"],
  ["iothread", "id"],
  ["iothreadpin", "iothread"],
  ["iothreadsched", "iothreads"],
  ["memnode", "cellid"],
  ["parameter", "name"],
  ["seclabel", "model"],
  ["sibling", "id"],
  ["sysinfo", "type"],
  ["timer", "name"],
  ["vcpu", "id"],
  ["vcpupin", "vcpu"],
  ["vcpusched", "vcpus"],
]);

/** By what devices of a kind are told from each other; those of any other kind by their position. */
const deviceKeys: ReadonlyMap<string, (device: XmlElement) => (string | undefined)[]> = new Map<
  string,
  (device: XmlElement) => (string | undefined)[]
>([
  ["audio", (device) => [attribute(device, "id")]],
  ["channel", channelKey],
  ["console", (device) => [attribute(at(device, "target"), "port")]],
  ["controller", controllerKey],
  ["disk", (device) => [attribute(at(device, "target"), "dev")]],
  ["filesystem", (device) => [attribute(at(device, "target"), "dir")]],
  ["graphics", (device) => [attribute(device, "type")]],
  ["hostdev", hostdevKey],
  ["input", (device) => [attribute(device, "type"), attribute(device, "bus")]],
  ["interface", (device) => [attribute(at(device, "mac"), "address")]],
  ["memory", (device) => [attribute(device, "model")]],
  ["parallel", (device) => [attribute(at(device, "target"), "port")]],
  ["serial", (device) => [attribute(at(device, "target"), "port")]],
  ["shmem", (device) => [attribute(device, "name")]],
]);

/** What tells an element from those of its name beside it, in words; empty where nothing but its position does. */
export function identityOf(parent: string, node: XmlElement): string {
  if (parent === "devices") return words(deviceKeys.get(node.name)?.(node) ?? []);
  const key = keys.get(node.name);
  return words(key === undefined ? [] : [attribute(node, key)]);
}

/** The attribute that {@link identityOf} takes of an element that is no device. */
export function keyOf(node: XmlElement): string | undefined {
  return keys.get(node.name);
}

/** PCI ports are numbered by where they are, which changes with every device; so they are only told by what they are. */
function controllerKey(device: XmlElement): (string | undefined)[] {
  const type = attribute(device, "type");
  return [type, attribute(device, type === "pci" ? "model" : "index")];
}

function channelKey(device: XmlElement): (string | undefined)[] {
  const target = at(device, "target");
  const name = attribute(target, "name");
  if (name !== undefined) return [name];
  return [attribute(target, "type"), attribute(target, "address"), attribute(target, "port")];
}

/** A device of the host by its address there, or by what it is, which is how a USB device is mostly found. */
function hostdevKey(device: XmlElement): (string | undefined)[] {
  const source = at(device, "source");
  const type = attribute(device, "type");
  const product = [at(source, "vendor"), at(source, "product")].map((one) => attribute(one, "id"));
  if (product.every((one) => one !== undefined)) return [type, product.join(":")];
  const places = [source, ...childElements(source)].flatMap((one) => placeWords(one?.attributes ?? {}));
  return [type, ...places];
}

/** What is said of how a device is used, rather than which one it is. */
const uses = new Set(["startupPolicy", "writeFiltering"]);

/** Where a device of the host is, without the attributes' names: its type says what they mean. */
export function placeWords(attributes: Readonly<Record<string, string>>): string[] {
  const { domain, bus, slot, function: part } = attributes;
  if (domain !== undefined && slot !== undefined) {
    const [a, b, c, d] = [domain, bus, slot, part].map((value) => (value ?? "0").replace(/^0x/, ""));
    return [`${a}:${b}:${c}.${d}`];
  }
  return Object.entries(attributes)
    .filter(([name]) => !uses.has(name))
    .map(([, value]) => value);
}

function words(parts: readonly (string | undefined)[]): string {
  return parts.filter((part) => part !== undefined).join(" ");
}
