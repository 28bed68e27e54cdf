import { at, attribute, childElements, element, type XmlElement, type XmlNode } from "../xml/element.ts";
import { addressOf, addressType, busOf, pciBusOf, placeOf, withAddress, withoutAddress } from "./address.ts";
import { isSameMachine } from "./machine.ts";
import { pairDevices, type Pair } from "./pair.ts";

/**
 * A definition's `<devices>`, with what the domain's devices have where it is silent: MAC addresses, and places on
 * their buses with the PCI controllers that they are on. A place that the definition gives to another device is not
 * kept, and none is on a machine of another family.
 */
export function keepDevices(definition: XmlElement, current: XmlElement): XmlElement {
  const pairs = pairDevices(definition, current);
  const places = isSameMachine(definition, current) ? new Places(pairs, current) : undefined;
  const merged = new Map(
    pairs.map(({ device, counterpart }) => {
      if (counterpart === undefined) return [device, device];
      const named = keepName(device, counterpart);
      return [device, places?.keep(named, counterpart) ?? named];
    }),
  );
  return changeDevices(definition, (children) => [
    ...children.map((node) => (typeof node === "string" ? node : (merged.get(node) ?? node))),
    ...(places?.controllers() ?? []),
  ]);
}

/**
 * A merged definition, with the devices that libvirt adds to it at the places where the domain has them; itself where
 * they are there already. `normal` is what libvirt makes of it. Otherwise they would move whenever another device
 * comes or goes.
 */
export function keepAddedDevices(merged: XmlElement, normal: XmlElement, current: XmlElement): XmlElement {
  const added = addedDevices(merged, normal);
  const own = at(merged, "devices")?.children ?? [];
  const open = changeDevices(merged, (children) => [...children, ...added.map(withoutAddress)]);
  const kept = keepDevices(open, current);
  const all = at(kept, "devices")?.children ?? [];
  const placed = all.slice(own.length, own.length + added.length).filter((node) => typeof node !== "string");
  const isMoved = placed.some((device, index) => {
    const [place, before] = [placeOf(device), added[index] && placeOf(added[index])];
    return place !== undefined && place !== before;
  });
  if (!isMoved) return merged;
  // One that the domain does not have is left to libvirt.
  const additions = placed.filter((device) => placeOf(device) !== undefined);
  const rest = all.slice(own.length + added.length);
  return changeDevices(kept, () => [...all.slice(0, own.length), ...additions, ...rest]);
}

/** The devices with a place that libvirt has added, less PCI controllers. */
function addedDevices(merged: XmlElement, normal: XmlElement): XmlElement[] {
  const kind = (device: XmlElement) => `${device.name} ${attribute(device, "type")}`;
  const own = Map.groupBy(childElements(at(merged, "devices")), kind);
  const all = Map.groupBy(childElements(at(normal, "devices")), kind);
  // One that libvirt only describes otherwise has no counterpart either, but there are no more of its kind.
  const hasMore = (device: XmlElement) => count(all, kind(device)) > count(own, kind(device));
  return pairDevices(normal, merged)
    .filter(({ device, counterpart }) => counterpart === undefined && hasMore(device))
    .map(({ device }) => device)
    .filter((device) => placeOf(device) !== undefined && !isPciController(device));
}

function count(groups: ReadonlyMap<string, readonly XmlElement[]>, key: string): number {
  return groups.get(key)?.length ?? 0;
}

/** The domain with other contents of `<devices>`. */
function changeDevices(
  domain: XmlElement,
  change: (children: readonly XmlNode[]) => readonly XmlNode[],
): XmlElement {
  const devices = at(domain, "devices");
  return {
    ...domain,
    children: domain.children.map((node) =>
      node === devices && devices !== undefined ? { ...devices, children: change(devices.children) } : node,
    ),
  };
}

/** By what others refer to it: a MAC address, or the index that addresses on a controller's bus have. */
function keepName(device: XmlElement, counterpart: XmlElement): XmlElement {
  if (device.name === "interface") return keepMac(device, counterpart);
  if (device.name === "controller" && !isOtherModel(device, counterpart))
    return keepIndex(device, counterpart);
  return device;
}

function keepIndex(device: XmlElement, counterpart: XmlElement): XmlElement {
  const index = attribute(device, "index") ?? attribute(counterpart, "index");
  return element(device.name, { ...device.attributes, index }, device.children);
}

function keepMac(device: XmlElement, counterpart: XmlElement): XmlElement {
  const address = attribute(at(counterpart, "mac"), "address");
  const mac = at(device, "mac");
  if (address === undefined || attribute(mac, "address") !== undefined) return device;
  const others = device.children.filter((node) => node !== mac);
  return { ...device, children: [element("mac", { ...mac?.attributes, address }), ...others] };
}

/** Which places the devices of a domain keep. */
class Places {
  /** What the definition says itself. */
  readonly #taken: ReadonlySet<string>;
  /** The PCI controllers of the domain by their index, less those that the definition describes otherwise. */
  readonly #controllers: ReadonlyMap<number, XmlElement>;
  /** Indexes of the PCI controllers that the definition has. */
  readonly #defined: ReadonlySet<number>;
  /** The highest index that a place needs. */
  #needed = 0;

  constructor(pairs: readonly Pair[], current: XmlElement) {
    this.#taken = new Set(pairs.flatMap(({ device }) => placeOf(device) ?? []));
    const defined = pairs.filter(({ device }) => isPciController(device));
    this.#defined = new Set(defined.map((pair) => indexOf(pair.counterpart ?? pair.device)));
    const replaced = defined.filter(({ device, counterpart }) => isOtherModel(device, counterpart));
    const foreign = new Set(replaced.map((pair) => indexOf(pair.counterpart ?? pair.device)));
    const controllers = childElements(at(current, "devices"), "controller")
      .filter((one) => isPciController(one) && !foreign.has(indexOf(one)))
      .filter((one) => this.#defined.has(indexOf(one)) || !this.#isTaken(one));
    this.#controllers = new Map(controllers.map((one) => [indexOf(one), one]));
  }

  /** The device at the place of its counterpart, where the definition leaves that open. */
  keep(device: XmlElement, counterpart: XmlElement): XmlElement {
    const address = addressOf(counterpart);
    if (address === undefined || addressOf(device) !== undefined) return device;
    const kind = addressType(device);
    if (kind !== undefined && kind !== attribute(address, "type")) return device;
    if (isOtherKind(device, counterpart) || this.#isTaken(counterpart)) return device;
    if (!this.#isReachable(counterpart)) return device;
    this.#needed = Math.max(this.#needed, pciBusOf(counterpart) ?? 0);
    return withAddress(withoutAddress(device), address);
  }

  /**
   * The PCI controllers that the definition lacks: all of the domain's where it names none, as libvirt then chooses
   * them, and otherwise those that the places need. libvirt fills the gaps below the highest one by itself, so those in
   * them stay what they are, too.
   */
  controllers(): XmlElement[] {
    const namesSome = [...this.#defined].some((index) => index !== 0);
    return [...this.#controllers].flatMap(([index, controller]) => {
      const isWanted = index !== 0 && !this.#defined.has(index) && (!namesSome || index <= this.#needed);
      return isWanted && this.#isReachable(controller) ? [controller] : [];
    });
  }

  /** One that is plugged into another is reached only by way of that; libvirt gives the other the lower index. */
  #isReachable(device: XmlElement): boolean {
    const bus = pciBusOf(device) ?? 0;
    if (bus === 0) return true;
    const controller = this.#controllers.get(bus);
    const above = controller && (pciBusOf(controller) ?? 0);
    return above !== undefined && above < bus && this.#isReachable(controller as XmlElement);
  }

  #isTaken(device: XmlElement): boolean {
    const place = placeOf(device);
    return place !== undefined && this.#taken.has(place);
  }
}

function isPciController(device: XmlElement): boolean {
  return device.name === "controller" && attribute(device, "type") === "pci";
}

function indexOf(controller: XmlElement | undefined): number {
  return Number(controller && attribute(controller, "index"));
}

/** Whether a device has become one that does not fit where its counterpart is. */
function isOtherKind(device: XmlElement, counterpart: XmlElement): boolean {
  if (device.name === "controller") return isOtherModel(device, counterpart);
  return busOf(device) !== busOf(counterpart);
}

function isOtherModel(device: XmlElement, counterpart: XmlElement | undefined): boolean {
  const model = attribute(device, "model");
  return model !== undefined && counterpart !== undefined && model !== attribute(counterpart, "model");
}
