import { at, attribute, childElements, type XmlElement } from "../xml/element.ts";
import { sourceKey } from "./address.ts";

/** A device of a definition, and the one of the domain that it is. */
export interface Pair {
  readonly device: XmlElement;
  /** Undefined where the domain has no such device. */
  readonly counterpart: XmlElement | undefined;
}

/** By what a device is known; undefined where it cannot be known by that. */
type Key = (device: XmlElement) => string | undefined;

/** What a definition may leave open, and a domain never does. */
interface Way {
  readonly inDefinition: Key;
  readonly inDomain: Key;
}

const alike = (key: Key): Way => ({ inDefinition: key, inDomain: key });
const index: Key = (device) => attribute(device, "index");
const type = (device: XmlElement) => attribute(device, "type") ?? "";
const typeAndModel: Key = (device) => `${type(device)} ${attribute(device, "model")}`;
const unlessNumbered = (device: XmlElement, key: string | undefined) =>
  index(device) === undefined ? key : undefined;
const mac: Key = (device) => attribute(at(device, "mac"), "address")?.toLowerCase();

/** How devices of a kind are known again: the first way that finds one counts, and among equals their order. */
const waysOfKind: Readonly<Record<string, readonly Way[]>> = {
  disk: [alike((device) => attribute(at(device, "target"), "dev"))],
  controller: [
    alike((device) => index(device) && `${type(device)} ${Number(index(device))}`),
    { inDefinition: (device) => unlessNumbered(device, typeAndModel(device)), inDomain: typeAndModel },
    { inDefinition: (device) => unlessNumbered(device, type(device)), inDomain: type },
  ],
  interface: [alike(mac), alike((device) => networkOf(device)), alike(() => "any")],
  hostdev: [alike((device) => `${type(device)} ${sourceKey(at(device, "source"))}`)],
};

/** Names that a guest knows a channel or a file system by; libvirt gives some channels theirs. */
const targetName: Key = (device) => {
  const target = at(device, "target");
  return attribute(target, "name") ?? attribute(target, "dir");
};

/** Of other devices it is the kind, and what they are to the guest, that tells them apart. */
const waysOfOthers: readonly Way[] = [
  alike((device) => `${type(device)} ${targetName(device)}`),
  {
    inDefinition: (device) => (targetName(device) === undefined ? type(device) : undefined),
    inDomain: type,
  },
];

/** Finds the counterpart in the domain of each device of a definition, in the definition's order. */
export function pairDevices(definition: XmlElement, current: XmlElement): Pair[] {
  const defined = childElements(at(definition, "devices"));
  const existing = childElements(at(current, "devices"));
  const counterparts = new Map<XmlElement, XmlElement>();
  for (const kind of new Set(defined.map(({ name }) => name))) {
    const ofKind = ({ name }: XmlElement) => name === kind;
    const ways = Object.hasOwn(waysOfKind, kind) ? waysOfKind[kind] : undefined;
    pairKind(defined.filter(ofKind), existing.filter(ofKind), ways ?? waysOfOthers, counterparts);
  }
  return defined.map((device) => ({ device, counterpart: counterparts.get(device) }));
}

function pairKind(
  defined: readonly XmlElement[],
  existing: readonly XmlElement[],
  ways: readonly Way[],
  counterparts: Map<XmlElement, XmlElement>,
): void {
  const free = new Set(existing);
  for (const { inDefinition, inDomain } of ways) {
    const byKey = Map.groupBy(free, inDomain);
    for (const device of defined) {
      const key = inDefinition(device);
      if (key === undefined || counterparts.has(device)) continue;
      const counterpart = byKey.get(key)?.shift();
      if (counterpart === undefined) continue;
      counterparts.set(device, counterpart);
      free.delete(counterpart);
    }
  }
}

/** What an interface is connected to. */
function networkOf(device: XmlElement): string {
  const source = at(device, "source");
  const names = ["network", "bridge", "dev", "path", "mode"].map((name) => attribute(source, name));
  return [type(device), ...names].join(" ");
}
