import { longestListed } from "../../../crds/machine.ts";
import { attribute, childElements, textOf, type XmlElement } from "../xml/element.ts";
import { pathOf, type Difference, type Place } from "./difference.ts";
import { identityOf, keyOf } from "./identity.ts";
import { diskLocation, interfaceLocation } from "./location.ts";

/** What a person calls it; everything else is called by its path. */
const names: ReadonlyMap<string, string> = new Map([
  ["@type", "domain type"],
  ["cpu/feature", "cpu feature"],
  ["cpu/model", "cpu model"],
  ["cpu/numa", "NUMA"],
  ["cpu/topology", "cpu topology"],
  ["currentMemory", "current memory"],
  ["devices/emulator", "emulator"],
  ["devices/graphics@passwd", "password"],
  ["devices/memory", "memory device"],
  ["maxMemory", "maximum memory"],
  ["os/boot", "boot order"],
  ["os/cmdline", "kernel command line"],
  ["os/initrd", "initrd"],
  ["os/kernel", "kernel"],
  ["os/loader", "loader"],
  ["os/nvram", "NVRAM"],
  ["os/type", "os type"],
  ["os/type@arch", "architecture"],
  ["os/type@machine", "machine type"],
  ["os@firmware", "firmware"],
  ["vcpu", "vCPUs"],
  ["vcpu@cpuset", "vCPUs' cpuset"],
  ["vcpu@current", "current vCPUs"],
]);

/** What may be a secret, or is known to hold some: that it changed is said, but not to what. */
const secrets: readonly RegExp[] = [
  /@passwd$/,
  /\/cookies\/cookie#$/,
  // Of a URL that was signed.
  /^devices\/disk\/.*source@query$/,
  /^launchSecurity\/(session|dhCert)#$/,
  // Passwords of machines are handed over in these.
  /^sysinfo\/(entry|system\/entry|oemStrings\/entry)#$/,
  /^os\/(cmdline|initarg|initenv)#$/,
  /^qemu:commandline#$/,
];

/** Attributes that say where a disk's content is; they are told as one. */
const diskSource =
  /^devices\/disk(@type|\/source|\/source@(file|dev|dir|path|pool|volume|protocol|name|type|namespace)|\/source\/(address|host)([/@].*)?)$/;

/** The same for what an interface is connected to. */
const interfaceSource = /^devices\/interface(@type|\/source|\/source@(network|bridge|dev|mode))$/;

/** A difference as a person would say it, in at most {@link longestListed} characters. */
export function sentenceOf(difference: Difference): string {
  const path = pathOf(difference);
  const device = enclosingDevice(difference.place);
  const moved = device === undefined ? undefined : movedSentence(path, device);
  if (moved !== undefined) return moved;
  const subject = subjectOf(difference);
  if (secrets.some((secret) => secret.test(path))) return fit(`${subject} changed`);
  if (difference.kind !== "Element") return valueSentence(subject, difference.running, difference.next);
  const { running, next } = difference.place;
  const content = device === difference.place ? undefined : contentOf(difference.place, running ?? next);
  return valueSentence(subject, running && (content ?? ""), next && (content ?? ""));
}

function movedSentence(path: string, device: Place): string | undefined {
  const [isDisk, isInterface] = [diskSource.test(path), interfaceSource.test(path)];
  if (!isDisk && !isInterface) return undefined;
  const [from, to] = [device.running, device.next].map(isDisk ? diskLocation : interfaceLocation);
  if (from === to) return undefined;
  const label = deviceLabel(device);
  if (isDisk) return valueSentence(`${label}: source`, from, to);
  const kind = "network ";
  return from?.startsWith(kind) && to?.startsWith(kind)
    ? valueSentence(`${label}: network`, from.slice(kind.length), to.slice(kind.length))
    : valueSentence(`${label}:`, from, to);
}

/** "memory 1 GiB -> 2 GiB", or "... added", or "... removed". An empty value has no words. */
function valueSentence(subject: string, running: string | undefined, next: string | undefined): string {
  const only = running === undefined ? "added" : "removed";
  if (running !== undefined && next !== undefined) {
    const room = longestListed - Math.min(subject.length, 120) - " -> ".length - 2;
    const [from, to] = shorten(running, next, Math.floor(room / 2));
    return fit(`${clip(subject, 120)} ${from === "" ? '""' : from} -> ${to === "" ? '""' : to}`);
  }
  const value = running ?? next ?? "";
  const room = longestListed - only.length - 2;
  return fit(`${clip([subject, value].filter((word) => word !== "").join(" "), room)} ${only}`);
}

/** Both values in at most `room` characters each, from shortly before where they begin to differ. */
function shorten(from: string, to: string, room: number): [string, string] {
  const [a, b] = [onOneLine(from), onOneLine(to)];
  if (a.length <= room && b.length <= room) return [a, b];
  let same = 0;
  while (same < a.length && a[same] === b[same]) same += 1;
  const start = same <= room / 2 ? 0 : same - Math.floor(room / 4);
  const part = (value: string) => clip(start === 0 ? value : `…${value.slice(start)}`, room);
  return [part(a), part(b)];
}

function fit(sentence: string): string {
  return clip(onOneLine(sentence), longestListed);
}

function clip(text: string, room: number): string {
  return (text.length <= room ? text : `${text.slice(0, room - 1)}…`).toWellFormed();
}

/** Line ends and other characters that have no place in a sentence as blanks. */
function onOneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, " ").trim();
}

/** What a sentence is about: "disk vda: driver cache", "features/acpi", "machine type". */
function subjectOf(difference: Difference): string {
  const { place } = difference;
  const device = enclosingDevice(place);
  const named = difference.kind === "Attribute" ? names.get(pathOf(difference)) : undefined;
  if (device === undefined) return named ?? withAttribute(labelOf(place), difference);
  if (device === place && difference.kind === "Element") return deviceLabel(device);
  const label = deviceLabel(device);
  if (device === place && difference.kind === "Text") return label;
  return `${label}: ${named ?? withAttribute(device === place ? "" : labelOf(place), difference)}`;
}

function withAttribute(label: string, difference: Difference): string {
  if (difference.kind !== "Attribute") return label;
  // "model virtio -> e1000" instead of "model type virtio -> e1000".
  if (label === "model" && difference.name === "type") return label;
  return label === "" ? difference.name : `${label} ${difference.name}`;
}

/** The names from below the device or the domain on, each with what tells it from others of its name. */
function labelOf(place: Place): string {
  const named = names.get(place.path);
  const { parent } = place;
  const isTop = parent === undefined || parent.path === "" || parent.path === "devices" || isDevice(parent);
  const own = named ?? nameOf(place);
  const words = [own, identityWords(place)].filter((word) => word !== "").join(" ");
  return isTop || named !== undefined ? words : `${labelOf(parent)}/${words}`;
}

/** What tells an element from the others of its name, and its number among those that nothing tells apart. */
function identityWords({ running, next, parent, ordinal }: Place): string {
  const node = running ?? next;
  const identity = node === undefined ? "" : identityOf(parent?.path ?? "", node);
  if (ordinal === undefined) return identity;
  return identity === "" ? String(ordinal) : `${identity} #${ordinal}`;
}

function nameOf({ path }: Place): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function deviceLabel(place: Place): string {
  return clip(
    [names.get(place.path) ?? nameOf(place), identityWords(place)].filter((word) => word !== "").join(" "),
    100,
  );
}

/** What is in an element that only one side has, where that is a word or two. */
function contentOf(place: Place, node: XmlElement | undefined): string | undefined {
  if (node === undefined || childElements(node).length > 0) return undefined;
  if (secrets.some((secret) => secret.test(`${place.path}#`) || secret.test(place.path))) return undefined;
  const attributes = Object.keys(node.attributes).filter((name) => name !== keyOf(node));
  const text = textOf(node);
  if (text !== undefined) return text;
  const [name, ...others] = attributes;
  const value = name === undefined || others.length > 0 ? undefined : attribute(node, name);
  return value === undefined || value === identityWords(place) ? undefined : `${name} ${value}`;
}

function isDevice(place: Place): boolean {
  return place.parent?.path === "devices";
}

function enclosingDevice(place: Place): Place | undefined {
  if (isDevice(place)) return place.path === "devices/emulator" ? undefined : place;
  return place.parent === undefined ? undefined : enclosingDevice(place.parent);
}
