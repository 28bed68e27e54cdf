import { at, attribute } from "../../xml/element.ts";
import type { Place } from "../difference.ts";
import { isVfio, type Addition } from "./addition.ts";

/** Disks. */
export const disks: readonly Addition[] = [
  {
    where: "devices/disk",
    only: "next",
    when: hasOptionalSource,
    because: "left out: its source was not there",
  },
  { where: "devices/disk/source", only: "next", when: isOptional, because: "left out: it was not there" },
  { where: "devices/disk/backingStore", only: "running", because: "found in the image" },
  { where: "devices/disk/backingStore/**", only: "running", because: "found in the image" },
  { where: "devices/disk/source/dataStore", only: "running", because: "found in the image" },
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

const placeInGuest = "libvirt finds a place, at start and when something is plugged";
const serverDefault = "qemu.conf asks for a socket";
const freePort = "a port that was free at start";
const madePath = "a path that libvirt made up at start";

/** Other devices. */
export const devices: readonly Addition[] = [
  { where: "devices/*/address", when: isPlaceInGuest, because: placeInGuest },
  { where: "devices/controller@index", when: isPciPort, because: placeInGuest },
  { where: "devices/controller/target@chassis", because: placeInGuest },
  { where: "devices/controller/target@port", because: placeInGuest },
  { where: "devices/graphics@port", when: hasAutomaticPort, because: freePort },
  { where: "devices/graphics@tlsPort", when: hasAutomaticPort, because: freePort },
  { where: "devices/graphics@websocket", when: hasAutomaticWebSocket, because: freePort },
  { where: "devices/graphics@autoport", only: "next", when: isOnAutomaticSocket, because: serverDefault },
  {
    where: "devices/graphics/listen@type",
    when: ({ parent }) => isOnAutomaticSocket(parent),
    because: serverDefault,
  },
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
  { where: "devices/filesystem/binary@path", only: "running", because: "the daemon that was found" },
];

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

/** Of the address of a device, unless it is one that nobody but the configuration gives. */
function isPlaceInGuest({ running, next, parent }: Place): boolean {
  if (running === undefined || next === undefined) return true;
  const [before, after] = [attribute(running, "type"), attribute(next, "type")];
  const isChosen = after === "isa" || (after === "drive" && parent?.path === "devices/disk");
  return before === after && !isChosen;
}

function isPciPort({ running, next }: Place): boolean {
  return attribute(running ?? next, "type") === "pci";
}

function hasAutomaticPort({ next }: Place): boolean {
  return attribute(next, "autoport") === "yes";
}

/** Where qemu.conf asks for sockets, a screen that is to listen on no certain address gets one. */
function isOnAutomaticSocket(graphics: Place | undefined): boolean {
  const [running, next] = [at(graphics?.running, "listen"), at(graphics?.next, "listen")];
  const hasAddress = attribute(next, "address") !== undefined;
  return attribute(running, "type") === "socket" && attribute(next, "type") === "address" && !hasAddress;
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
