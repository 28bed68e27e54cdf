import { at, attribute } from "../../xml/element.ts";
import type { Place } from "../difference.ts";
import { enclosing, isVfio, type Addition } from "./addition.ts";

const madeOf = "what the network is made of";
const networkAsks = "what the network asks for";

/** What libvirt takes from the network's own definition at start. */
export const interfaces: readonly Addition[] = [
  { where: "devices/interface/target", only: "running", when: isGeneratedTarget, because: "named at start" },
  {
    where: "devices/interface/target@dev",
    only: "running",
    when: isGeneratedTarget,
    because: "named at start",
  },
  { where: "devices/interface@type", when: isMadeOfNetwork, because: madeOf },
  { where: "devices/interface@managed", only: "running", when: isMadeOfNetwork, because: madeOf },
  { where: "devices/interface/source@bridge", only: "running", when: isOfNetwork, because: madeOf },
  { where: "devices/interface/source@dev", only: "running", when: isOfNetwork, because: madeOf },
  { where: "devices/interface/source@mode", only: "running", when: isOfNetwork, because: madeOf },
  {
    where: "devices/interface/source@portid",
    only: "running",
    because: "libvirt's number of the connection",
  },
  { where: "devices/interface/source/address", only: "running", when: isOfNetwork, because: madeOf },
  { where: "devices/interface/source@network", only: "next", when: isOfPassedThrough, because: madeOf },
  { where: "devices/interface/source@portgroup", only: "next", when: isOfPassedThrough, because: madeOf },
  { where: "devices/interface/driver", only: "running", when: isVfio, because: "the only driver there is" },
  { where: "devices/interface/bandwidth", only: "running", when: isOfNetwork, because: networkAsks },
  { where: "devices/interface/virtualport", only: "running", when: isOfNetwork, because: networkAsks },
  { where: "devices/interface/virtualport@type", only: "running", when: isOfNetwork, because: networkAsks },
  {
    where: "devices/interface/virtualport/parameters",
    only: "running",
    when: isOfNetwork,
    because: networkAsks,
  },
  {
    where: "devices/interface/virtualport/parameters@*",
    only: "running",
    when: isOfNetwork,
    because: networkAsks,
  },
  { where: "devices/interface/vlan", only: "running", when: isOfNetwork, because: networkAsks },
  { where: "devices/interface/mtu", only: "running", when: isOfNetwork, because: networkAsks },
  { where: "devices/interface/port", only: "running", when: isOfNetwork, because: networkAsks },
  {
    where: "devices/interface@trustGuestRxFilters",
    only: "running",
    when: isMadeOfNetwork,
    because: networkAsks,
  },
];

/** libvirt takes these names for its own, and forgets them when the domain is off. */
function isGeneratedTarget({ running }: Place): boolean {
  const isNameAlone = Object.keys(running?.attributes ?? {}).join(" ") === "dev";
  return isNameAlone && /^(vnet|macvtap|macvlan|vif)\d+/.test(attribute(running, "dev") ?? "");
}

/** Of an interface on a network: the running one may say what the network is made of instead. */
function isMadeOfNetwork({ running, next }: Place): boolean {
  if (attribute(next, "type") !== "network") return false;
  return (
    attribute(at(running, "source"), "network") !== undefined || attribute(running, "type") === "hostdev"
  );
}

/** Of something in an interface, or in its source. */
function isOfNetwork(place: Place): boolean {
  return attribute(enclosing(place, "devices/interface")?.next, "type") === "network";
}

/** Of the source of an interface: a device that the network gave does not name its network. */
function isOfPassedThrough({ parent }: Place): boolean {
  return attribute(parent?.running, "type") === "hostdev";
}
