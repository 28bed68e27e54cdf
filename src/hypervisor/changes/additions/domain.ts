import { isBootMarkUri } from "../../marks.ts";
import { metadataOf } from "../../metadata.ts";
import { at, attribute, textOf } from "../../xml/element.ts";
import type { Place } from "../difference.ts";
import { enclosing, type Addition } from "./addition.ts";

const sameName = "the next start has the same; a copy to compare with has one of its own";
const forPeople = "words for people, which need no restart";
const imageNumber = "libvirt numbers the images at start";
const terminal = "the pseudo-terminal that the host gave at start";
const ourAction = "this program changes it on a boot that it is about to end";
const serverDefault = "the default of qemu.conf";

/** What a domain is, rather than how it runs. */
export const identity: readonly Addition[] = [
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
export const state: readonly Addition[] = [
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
export const choices: readonly Addition[] = [
  { where: "resource/partition", only: "running", when: isDefaultPartition, because: "the default" },
  { where: "seclabel", only: "running", when: isDynamicLabel, because: "the security driver's own" },
  { where: "seclabel/label", only: "running", because: "chosen at start" },
  { where: "seclabel/imagelabel", only: "running", because: "chosen at start" },
  { where: "seclabel@relabel", only: "running", because: "the default" },
  { where: "vcpu@current", when: isAllOnBothSides, because: "said with the number of all" },
  { where: "vcpus", only: "running", because: "each of those that vcpu counts, once one is plugged" },
  { where: "vcpus/vcpu@order", only: "running", because: "the order in which they were plugged" },
  { where: "**@tls", only: "running", because: serverDefault },
  { where: "features/hyperv/*", when: isLeftToHost, because: "all that the host has, found at start" },
  { where: "features/hyperv@mode", when: isLeftToHost, because: "all that the host has, found at start" },
  { where: "launchSecurity/cbitpos", only: "running", because: "read off the processor at start" },
  { where: "launchSecurity/reducedPhysBits", only: "running", because: "read off the processor at start" },
];

/** Firmware that libvirt selects. */
export const firmware: readonly Addition[] = [
  { where: "os@firmware", only: "next", when: hasSelected, because: "what was selected stands in its place" },
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
  const entries = parent?.running === undefined ? [] : metadataOf(parent.running);
  return entries.some(({ uri }) => isBootMarkUri(uri));
}

function isAllOnBothSides({ running, next }: Place): boolean {
  return [running, next].every((vcpu) => attribute(vcpu, "current") === textOf(vcpu));
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

function hasSelected({ running, next }: Place): boolean {
  const loader = at(running, "loader");
  const isEfi = attribute(loader, "type") === "pflash";
  return loader !== undefined && isEfi === (attribute(next, "firmware") === "efi");
}

/** Of something in <os>. */
function isOfSelected(place: Place): boolean {
  return attribute(enclosing(place, "os")?.next, "firmware") !== undefined;
}

function hasVariables(place: Place): boolean {
  return isOfSelected(place) || attribute(at(place.parent?.next, "loader"), "type") === "pflash";
}
