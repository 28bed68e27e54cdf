import { at, attribute, childElements, textOf, type XmlElement } from "../xml/element.ts";
import { onlySide, pathOf, type Difference, type Place } from "./difference.ts";

/** A place at which the XML of a running domain may differ from its configuration although nobody changed it. */
export interface Addition {
  /**
   * An element, with everything in it, an attribute after "@", or a text, which is "#" ({@link pathOf}). "*" is any
   * one name, "**" any number of them.
   */
  readonly where: string;
  /** Only where just this side has it. */
  readonly only?: "running" | "next";
  /** Only where this is so of the element, or of the one that has the attribute or the text. */
  readonly when?: (place: Place) => boolean;
  /** Why the difference is none. */
  readonly because: string;
}

const sameName = "the next start has the same; a copy to compare with has one of its own";
const forPeople = "words for people, which need no restart";
const imageNumber = "libvirt numbers the images at start";
const terminal = "the pseudo-terminal that the host gave at start";
const ourAction = "this program changes it on a boot that it is about to end";
const serverDefault = "the default of qemu.conf";

/** What a domain is, rather than how it runs. */
const identity: readonly Addition[] = [
  { where: "@id", because: "libvirt numbers what runs" },
  { where: "name", because: sameName },
  { where: "uuid", because: sameName },
  { where: "genid", because: "libvirt makes one up at each reading where the definition has none" },
  { where: "sysinfo/system/entry", when: isNamed("uuid"), because: "libvirt insists on the domain's UUID" },
  { where: "title", because: forPeople },
  { where: "description", because: forPeople },
  { where: "metadata", because: "words for other programs, our own marks among them, which need no restart" },
  { where: "**@xmlns:*", because: "how a namespace is called says nothing of what is in it" },
];

/** The state of a running domain, which nobody configures. */
const state: readonly Addition[] = [
  { where: "**/privateData", because: "libvirt's notes to itself" },
  {
    where: "**/alias",
    when: isLibvirtsAlias,
    because: "libvirt names devices at start; only ua-* is configured",
  },
  { where: "**/source@index", because: imageNumber },
  { where: "**/backingStore@index", because: imageNumber },
  { where: "devices/disk/mirror", because: "a copy that is being made" },
  { where: "devices/disk/target@tray", because: "the guest opens and closes it" },
  { where: "devices/channel/target@state", because: "whether somebody in the guest listens" },
  { where: "devices/console@tty", because: terminal },
  { where: "devices/*/source", only: "running", when: isTerminal, because: terminal },
  { where: "devices/*/source@path", when: isTerminal, because: terminal },
  { where: "devices/interface/mac@currentAddress", because: "the guest uses another one" },
  { where: "devices/memory/target/current", because: "what the guest has plugged of it" },
  {
    where: "currentMemory",
    when: isBallooned,
    because: "the balloon changes it as the guest runs, and without a balloon it is all of the memory",
  },
  {
    where: "clock@adjustment",
    when: ({ running, next }) => [running, next].every((clock) => attribute(clock, "offset") === "variable"),
    because: "libvirt keeps it up to date with the clock that the guest sets",
  },
  { where: "on_reboot", when: isMarked, because: ourAction },
  { where: "on_poweroff", when: isMarked, because: ourAction },
];

/** What libvirt fills in at start where the configuration leaves the choice to it. */
const choices: readonly Addition[] = [
  { where: "resource/partition", only: "running", when: isDefaultPartition, because: "the default" },
  { where: "seclabel", only: "running", when: isDynamicLabel, because: "the security driver's own" },
  { where: "seclabel/label", only: "running", because: "chosen at start" },
  { where: "seclabel/imagelabel", only: "running", because: "chosen at start" },
  { where: "seclabel@relabel", only: "running", because: "the default" },
  { where: "vcpus/vcpu@order", only: "running", because: "the order in which they were plugged" },
  { where: "**@tls", only: "running", because: serverDefault },
  { where: "features/hyperv/*", when: isLeftToHost, because: "all that the host has, found at start" },
  { where: "features/hyperv@mode", when: isLeftToHost, because: "all that the host has, found at start" },
  { where: "launchSecurity/cbitpos", only: "running", because: "read off the processor at start" },
  { where: "launchSecurity/reducedPhysBits", only: "running", because: "read off the processor at start" },
];

/** Firmware that libvirt selects. */
const firmware: readonly Addition[] = [
  { where: "os@firmware", only: "next", when: hasLoader, because: "what was selected stands in its place" },
  { where: "os/loader", only: "running", when: isOfSelected, because: "selected at start" },
  { where: "os/loader@*", only: "running", when: isOfSelected, because: "selected at start" },
  { where: "os/loader#", only: "running", when: isOfSelected, because: "selected at start" },
  { where: "os/nvram", only: "running", when: hasVariables, because: "made at start" },
  { where: "os/nvram@*", only: "running", because: "the template that belongs to the loader" },
  { where: "os/nvram#", only: "running", because: "made at start" },
  { where: "os/firmware", only: "running", when: isOfSelected, because: "what the selected firmware has" },
  {
    where: "os/firmware/feature",
    only: "running",
    when: isOfSelected,
    because: "what the selected firmware has",
  },
];

/** The processor that libvirt finds where none is named, and what becomes of the features of one that is. */
const processor: readonly Addition[] = [
  { where: "cpu@check", because: "how a start compares; what runs was compared in full" },
  { where: "cpu@match", because: "what runs matches exactly" },
  { where: "cpu@migratable", only: "running", because: "the default" },
  { where: "cpu@mode", when: isChosenProcessor, because: "what libvirt chose" },
  { where: "cpu/model", only: "running", when: isOfExpanded, because: "what libvirt chose" },
  { where: "cpu/model@fallback", because: "what runs has found its model" },
  { where: "cpu/model@vendor_id", only: "running", when: isOfChosen, because: "what libvirt chose" },
  { where: "cpu/model#", when: isOfChosen, because: "what libvirt chose" },
  { where: "cpu/vendor", only: "running", when: isOfExpanded, because: "that of the model" },
  { where: "cpu/signature", only: "running", when: isOfExpanded, because: "that of the model" },
  { where: "cpu/maxphysaddr", only: "running", when: isOfChosen, because: "that of the host" },
  {
    where: "cpu/feature",
    only: "running",
    when: isOfExpanded,
    because:
      "what the hypervisor has beyond the model, or lacks of it; what was asked for is not told from it",
  },
  {
    where: "cpu/feature",
    only: "next",
    when: mayBeMissing,
    because: "it is there only where the host has it",
  },
  { where: "cpu/feature@policy", when: isPolicyKept, because: "what became of the wish" },
];

/** Disks. */
const disks: readonly Addition[] = [
  {
    where: "devices/disk",
    only: "next",
    when: hasOptionalSource,
    because: "left out: its source was not there",
  },
  { where: "devices/disk/source", only: "next", when: isOptional, because: "left out: it was not there" },
  { where: "devices/disk/backingStore", only: "running", because: "found in the image" },
  { where: "devices/disk/backingStore/**", only: "running", because: "found in the image" },
  { where: "devices/disk/driver@type", only: "running", because: "the format that the volume says it has" },
  { where: "devices/disk/driver@type", when: isOfEmptyDrive, because: "no medium has no format" },
  {
    where: "devices/disk/driver@cache",
    only: "running",
    when: isOfShareable,
    because: "what is shared is not cached",
  },
  { where: "devices/disk/source/reservations/source", only: "running", because: "libvirt's own helper" },
];

const madeOf = "what the network is made of";
const networkAsks = "what the network asks for";

/** What libvirt takes from the network's own definition at start. */
const interfaces: readonly Addition[] = [
  { where: "devices/interface/target", only: "running", when: isGeneratedTarget, because: "named at start" },
  {
    where: "devices/interface/target@dev",
    only: "running",
    when: isGeneratedTarget,
    because: "named at start",
  },
  { where: "devices/interface@type", when: isMadeOfNetwork, because: madeOf },
  { where: "devices/interface@managed", only: "running", when: isMadeOfNetwork, because: madeOf },
  { where: "devices/interface/source@*", only: "running", when: isOfNetwork, because: madeOf },
  { where: "devices/interface/source/address", only: "running", because: madeOf },
  { where: "devices/interface/source@network", only: "next", when: isOfPassedThrough, because: madeOf },
  { where: "devices/interface/source@portgroup", only: "next", when: isOfPassedThrough, because: madeOf },
  { where: "devices/interface/driver", only: "running", when: isVfio, because: "the only driver there is" },
  { where: "devices/interface/bandwidth", only: "running", when: isOfNetwork, because: networkAsks },
  { where: "devices/interface/virtualport", only: "running", when: isOfNetwork, because: networkAsks },
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

const placeInGuest = "libvirt finds a place, at start and when something is plugged";
const freePort = "a port that was free at start";
const madePath = "a path that libvirt made up at start";

/** Other devices. */
const devices: readonly Addition[] = [
  { where: "devices/*/address", when: isPlaceInGuest, because: placeInGuest },
  { where: "devices/controller/target@chassis", because: placeInGuest },
  { where: "devices/controller/target@port", because: placeInGuest },
  { where: "devices/graphics@port", when: hasAutomaticPort, because: freePort },
  { where: "devices/graphics@tlsPort", when: hasAutomaticPort, because: freePort },
  { where: "devices/graphics@websocket", when: hasAutomaticWebSocket, because: freePort },
  { where: "devices/graphics@listen", because: "repeats the first <listen>" },
  { where: "devices/graphics@socket", because: "repeats the first <listen>" },
  { where: "devices/graphics@address", only: "running", because: "a bus that libvirt started" },
  {
    where: "devices/graphics/listen@address",
    only: "running",
    because: "the default of qemu.conf, or the network's",
  },
  { where: "devices/graphics/listen@socket", only: "running", because: madePath },
  { where: "devices/graphics/gl@rendernode", only: "running", because: "the first of the host" },
  { where: "devices/graphics@passwd", only: "running", because: "told on request only" },
  { where: "devices/graphics@passwd", only: "next", because: "told on request only" },
  { where: "devices/channel/source", only: "running", when: isMadeSocket, because: madePath },
  { where: "devices/channel/source@path", only: "running", when: isMadeSocket, because: madePath },
  { where: "devices/shmem/server@path", only: "running", because: madePath },
  { where: "devices/hostdev", only: "next", when: hasOptionalSource, because: "left out: it was not there" },
  { where: "devices/hostdev/driver", only: "running", when: isVfio, because: "the only driver there is" },
  { where: "devices/hostdev/driver@model", only: "running", because: "the kernel's choice" },
  {
    where: "devices/hostdev/source/address",
    only: "running",
    when: isFoundByProduct,
    because: "where it was found",
  },
  { where: "devices/tpm/backend/profile", only: "running", because: "the emulator's default" },
  { where: "devices/vsock/cid@address", when: hasAutomaticCid, because: "a number that was free at start" },
  { where: "devices/filesystem/binary", only: "running", because: "the daemon that was found" },
  { where: "devices/filesystem/binary@path", only: "running", because: "the daemon that was found" },
];

/**
 * The differences that libvirt itself makes between a running domain's XML and that of its configuration, and what a
 * restart does not bring. Where something of the configuration cannot be told from libvirt's own work, such as a
 * required feature of a processor that is taken away again, it is in here: no difference is told that is none.
 */
export const additions: readonly Addition[] = [
  ...identity,
  ...state,
  ...choices,
  ...firmware,
  ...processor,
  ...disks,
  ...interfaces,
  ...devices,
];

/** The last name of each path that is meant, so that few patterns are tried for each difference. */
const matchers = Map.groupBy(
  additions.map((addition) => ({ ...addition, pattern: patternOf(addition.where) })),
  ({ where }) => lastName(where),
);

/** Whether a difference is one of {@link additions}. */
export function isAddition(difference: Difference): boolean {
  const path = pathOf(difference);
  const side = onlySide(difference);
  return [lastName(path), "*"]
    .flatMap((name) => matchers.get(name) ?? [])
    .some(
      ({ pattern, only, when }) =>
        pattern.test(path) &&
        (only === undefined || only === side) &&
        (when === undefined || when(difference.place)),
    );
}

function lastName(path: string): string {
  const name = /[^/@:]*$/.exec(path)?.[0] ?? "";
  return name.includes("*") ? "*" : name;
}

function patternOf(where: string): RegExp {
  const source = where
    .replaceAll("**/", "(?:<any>/)?")
    .replaceAll("**", "<any>")
    .replaceAll("*", "[^/@#]+")
    .replaceAll("<any>", ".*");
  return new RegExp(`^${source}$`);
}

function isNamed(name: string): (place: Place) => boolean {
  return ({ running, next }) => attribute(running ?? next, "name") === name;
}

function isLibvirtsAlias({ running, next }: Place): boolean {
  return ![running, next].some((alias) => attribute(alias, "name")?.startsWith("ua-"));
}

/** Of the source of a device: the host gives a pseudo-terminal its path. */
function isTerminal({ parent, next }: Place): boolean {
  return attribute(parent?.running, "type") === "pty" && (!next || attribute(parent?.next, "type") === "pty");
}

function isBallooned({ parent, next }: Place): boolean {
  const [before, after] = [parent?.running, parent?.next].map((domain) => textOf(at(domain, "memory")));
  return before === after || next === undefined || textOf(next) === after;
}

function isMarked({ parent }: Place): boolean {
  return childElements(at(parent?.running, "metadata")).some(({ attributes }) =>
    Object.entries(attributes).some(
      ([name, value]) => name.startsWith("xmlns") && value.startsWith("https://warmboot.dev/boot/"),
    ),
  );
}

function isDefaultPartition({ running }: Place): boolean {
  return textOf(running) === "/machine";
}

function isDynamicLabel({ running }: Place): boolean {
  return attribute(running, "type") === "dynamic" && at(running, "baselabel") === undefined;
}

function isLeftToHost(place: Place): boolean {
  const { next } = place.path === "features/hyperv" ? place : (place.parent ?? place);
  return ["passthrough", "host-model"].includes(attribute(next, "mode") ?? "");
}

function hasLoader({ running }: Place): boolean {
  return at(running, "loader") !== undefined;
}

/** Of something in <os>. */
function isOfSelected(place: Place): boolean {
  return attribute(enclosing(place, "os")?.next, "firmware") !== undefined;
}

function hasVariables(place: Place): boolean {
  return isOfSelected(place) || attribute(at(place.parent?.next, "loader"), "type") === "pflash";
}

/** Whether a processor is what libvirt made of the configured one at start. */
function isExpanded(cpu: XmlElement | undefined): boolean {
  return attribute(cpu, "mode") === "custom" && attribute(cpu, "check") === "full";
}

function isChosenProcessor({ running, next }: Place): boolean {
  return isExpanded(running) && ["", "host-model", "maximum"].includes(attribute(next, "mode") ?? "");
}

/** Of something in <cpu>. */
function isOfExpanded({ parent }: Place): boolean {
  return isExpanded(parent?.running);
}

/** Of something in <cpu>: whether libvirt chose the model, at will or as the least that would do. */
function isOfChosen({ parent }: Place): boolean {
  if (parent === undefined) return false;
  return (
    isChosenProcessor(parent) || (isExpanded(parent.running) && attribute(parent.next, "match") === "minimum")
  );
}

function mayBeMissing({ parent, next }: Place): boolean {
  return isExpanded(parent?.running) && ["optional", "forbid"].includes(attribute(next, "policy") ?? "");
}

function isPolicyKept({ parent, running, next }: Place): boolean {
  if (!isExpanded(parent?.running)) return false;
  const isThere = attribute(running, "policy") !== "disable";
  switch (attribute(next, "policy")) {
    case "optional":
      return true;
    case "disable":
    case "forbid":
      return !isThere;
    case "require":
    case "force":
      return !isThere && isUnchecked(parent);
    default:
      return false;
  }
}

/** Whether a domain starts although its processor lacks what it requires. */
function isUnchecked(cpu: Place | undefined): boolean {
  const isEmulated = attribute(cpu?.parent?.next, "type") === "qemu";
  return isEmulated || ["", "none"].includes(attribute(cpu?.next, "check") ?? "");
}

function isOptional({ next: source }: Place): boolean {
  return ["optional", "requisite"].includes(attribute(source, "startupPolicy") ?? "");
}

function hasOptionalSource(place: Place): boolean {
  return isOptional({ ...place, next: at(place.next, "source") });
}

function isOfEmptyDrive({ parent }: Place): boolean {
  return [parent?.running, parent?.next].some(
    (disk) => disk !== undefined && at(disk, "source") === undefined,
  );
}

function isOfShareable({ parent }: Place): boolean {
  return at(parent?.running, "shareable") !== undefined;
}

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

function isVfio({ running }: Place): boolean {
  return attribute(running, "name") === "vfio";
}

/** Of the address of a device, but for a disk that is configured to be at another of its controller's. */
function isPlaceInGuest({ running, next, parent }: Place): boolean {
  if (running === undefined || next === undefined) return true;
  const [before, after] = [attribute(running, "type"), attribute(next, "type")];
  return before === after && !(after === "drive" && parent?.path === "devices/disk");
}

function hasAutomaticPort({ next }: Place): boolean {
  return attribute(next, "autoport") === "yes";
}

function hasAutomaticWebSocket({ next }: Place): boolean {
  return attribute(next, "websocket") === "-1";
}

/** Of the source of a channel: libvirt's own sockets are in a directory that has the domain's number and name. */
function isMadeSocket({ running }: Place): boolean {
  return /\/channel\/(.*[/-])?\d+-[^/]*\/[^/]*$/.test(attribute(running, "path") ?? "");
}

function isFoundByProduct({ parent }: Place): boolean {
  return at(parent?.next, "vendor") !== undefined;
}

function hasAutomaticCid({ next }: Place): boolean {
  return attribute(next, "auto") === "yes";
}

/** The place itself or the one around it that has this path. */
function enclosing(place: Place | undefined, path: string): Place | undefined {
  return place === undefined || place.path === path ? place : enclosing(place.parent, path);
}
