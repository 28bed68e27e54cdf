import type { Finding, FindingReason, Repair } from "../../../controller/finding.ts";
import { at, attribute } from "../xml/element.ts";
import { sparable, type Disk } from "./disk.ts";
import type { FileLook, FileLooks } from "./file-reader.ts";
import { imageOf, longestChain, neededBy, headerOf, type Image, type Needed } from "./image-chain.ts";
import { isRecognized, readImageHeader } from "./image-header.ts";
import type { Pools, VolumeName, VolumePlace } from "./pools.ts";
import { volumeProblem, type KnownVolumes, type PlacedVolume } from "./volumes.ts";

/** Where a disk's content is. */
export type DiskPlace =
  | { kind: "Image"; image: Image }
  | { kind: "Volume"; name: VolumeName; place: VolumePlace; image?: Image | undefined }
  | { kind: "Directory"; directory: string }
  /** On a server or in another process: libvirt does not tell of these before the start. */
  | { kind: "Elsewhere" };

/** A disk with where its content is. */
export interface PlacedDisk {
  disk: Disk;
  place: DiskPlace;
}

/** Finds out where a disk's content is. */
export async function placeDisk(disk: Disk, pools: Pools): Promise<PlacedDisk> {
  return { disk, place: await placeOf(disk, pools) };
}

async function placeOf({ element, source, format }: Disk, pools: Pools): Promise<DiskPlace> {
  const told = (name: string) => attribute(source, name);
  const imageAt = (path: string | undefined): DiskPlace => {
    const image = imageOf(element, path, format);
    return image === undefined ? { kind: "Elsewhere" } : { kind: "Image", image };
  };
  switch (attribute(element, "type")) {
    case "file":
      return imageAt(told("file"));
    case "block":
      return imageAt(told("dev"));
    case "dir": {
      const directory = told("dir");
      return directory === undefined ? { kind: "Elsewhere" } : { kind: "Directory", directory };
    }
    case "volume": {
      const [pool, volume] = [told("pool"), told("volume")];
      if (pool === undefined || volume === undefined) return { kind: "Elsewhere" };
      const name = { pool, name: volume };
      const place = await pools.place(name);
      // The daemon itself connects to the server, and nothing of it appears on the host.
      const isDirect = told("mode") === "direct";
      const path = place.kind === "Listed" && !isDirect ? place.path : undefined;
      return { kind: "Volume", name, place, image: imageOf(element, path, format) };
    }
    default:
      return { kind: "Elsewhere" };
  }
}

/** What is looked at of the host's files to judge these disks: the images that they are on, and other paths. */
export function filesOfDisks(placed: readonly PlacedDisk[]): { images: Image[]; paths: string[] } {
  const images = placed.flatMap(({ place }) => ("image" in place ? (place.image ?? []) : []));
  const paths = placed.flatMap(({ place }) => {
    if (place.kind === "Directory") return place.directory;
    return place.kind === "Volume" && place.place.kind === "Unlisted" ? (place.place.path ?? []) : [];
  });
  return { images, paths: paths.filter((path) => path.startsWith("/")) };
}

/** What is wrong with a disk, without saying with which. */
interface Problem {
  reason: FindingReason;
  message: string;
  remedy: string;
  repair?: Repair | undefined;
  /** The declared volume that is missing, where it is one. */
  declaration?: PlacedVolume | undefined;
  /** Whether libvirt starts the domain without a disk that says that it is optional. */
  isSkippable: boolean;
}

/** What is known while disks are judged. */
interface Known extends KnownVolumes {
  pools: Pools;
}

/** What is told of disks, and of which declared volumes that tells. */
export interface DiskFindings {
  findings: Finding[];
  told: Set<PlacedVolume>;
}

/** The disks that cannot be had, each with what it lacks. */
export async function diskFindings(placed: readonly PlacedDisk[], known: Known): Promise<DiskFindings> {
  const told = new Set<PlacedVolume>();
  const findings = placed.map(async ({ disk, place }) => {
    const problems = await problemsOf(disk, place, known);
    return problems
      .filter(({ isSkippable }) => !(isSkippable && disk.isOptional))
      .map(({ reason, message, remedy, repair, declaration }): Finding => {
        if (declaration !== undefined) told.add(declaration);
        return {
          reason,
          path: `${disk.path}/source`,
          message: `disk ${disk.target}: ${message}`,
          remedy,
          repair,
          disk: sparable(disk),
        };
      });
  });
  return { findings: (await Promise.all(findings)).flat(), told };
}

async function problemsOf(disk: Disk, place: DiskPlace, known: Known): Promise<Problem[]> {
  switch (place.kind) {
    case "Elsewhere":
      return [];
    case "Directory":
      return await missingFile(place.directory, known.looks.get(place.directory), known, "DiskMissing", "");
    case "Volume": {
      const problem = volumeProblem(place.name, place.place, known);
      if (problem !== undefined) return [{ ...problem, isSkippable: true }];
      return place.image === undefined ? [] : await chainProblems(disk, place.image, known);
    }
    case "Image":
      return await chainProblems(disk, place.image, known);
    default:
      return place satisfies never;
  }
}

/** An image of a chain, and the way to it. */
interface Link {
  image: Image;
  /** Such as "the backing file /b of /a"; empty for the disk itself. */
  as: string;
  above: readonly string[];
}

/** What is wrong along a disk's chain of images: each way down ends at its first problem. */
async function chainProblems(disk: Disk, top: Image, known: Known): Promise<Problem[]> {
  const problems: Problem[] = [];
  const links: Link[] = [{ image: top, as: "", above: [] }];
  for (let link = links.pop(); link !== undefined; link = links.pop()) {
    const { image, above } = link;
    const found = loopProblem(link) ?? (await imageProblem(disk, link, known));
    if (found !== undefined) {
      problems.push(...found);
      continue;
    }
    links.push(...neededBy(image, known.looks).map((needed) => below(image, above, needed)));
  }
  return problems;
}

function below(of: Image, above: readonly string[], { image, as }: Needed): Link {
  return { image, as: `the ${as} ${image.path} of ${of.path}`, above: [...above, of.path] };
}

function loopProblem({ image, as, above }: Link): Problem[] | undefined {
  if (above.includes(image.path))
    return [
      {
        reason: "BackingChainInvalid",
        message: `${as} is above it in the same chain`,
        remedy: "let each image have a backing file that is not based on it: qemu-img rebase -u",
        isSkippable: true,
      },
    ];
  if (above.length < longestChain) return undefined;
  return [
    {
      reason: "BackingChainInvalid",
      message: `${as} is further down than the ${longestChain} images that libvirt follows`,
      remedy: "shorten the chain: qemu-img commit or rebase",
      isSkippable: true,
    },
  ];
}

/** Undefined where the chain goes on from this image. */
async function imageProblem(disk: Disk, link: Link, known: Known): Promise<Problem[] | undefined> {
  const { image, as } = link;
  const look = known.looks.get(image.path);
  const reason = as === "" ? "DiskMissing" : "BackingFileMissing";
  const missing = await missingFile(image.path, look, known, reason, as);
  if (missing.length > 0) return missing;
  if (look?.kind === "Directory")
    return [unreadable(as === "" ? image.path : as, "is a directory", image.path)];
  if (look?.kind !== "Read") return [];
  return formatProblem(disk, link, look) ?? headerProblem(disk, link, look, known.looks);
}

async function missingFile(
  path: string,
  look: FileLook | undefined,
  known: Known,
  reason: FindingReason,
  as: string,
): Promise<Problem[]> {
  if (look?.kind === "Unreadable")
    return [unreadable(as === "" ? path : as, `cannot be read: ${look.message}`, path)];
  if (look?.kind !== "Missing") return [];
  const what = as === "" ? path : as;
  const declaration = known.declared.find(({ place }) => "path" in place && place.path === path);
  const problem = declaration && volumeProblem(declaration.volume, declaration.place, known);
  const bringing = problem === undefined ? await known.pools.bringing(path) : undefined;
  if (bringing !== undefined)
    return [
      {
        reason: "PoolInactive",
        message: `${what} does not exist while pool ${bringing} is not active`,
        remedy: `start it: virsh pool-start ${bringing}`,
        repair: { kind: "StartPool", pool: bringing },
        isSkippable: true,
      },
    ];
  return [
    {
      reason,
      message: `${what} does not exist`,
      remedy: `put ${path} back, or define the machine without it`,
      repair: problem?.repair,
      declaration,
      isSkippable: true,
    },
  ];
}

function unreadable(what: string, why: string, path: string): Problem {
  return {
    reason: "DiskUnreadable",
    message: `${what} ${why}`,
    remedy: `make ${path} an image that the hypervisor can read`,
    isSkippable: true,
  };
}

/** Formats are compared where a header tells them; the disk's own and that which an overlay says of its backing file. */
function formatProblem(
  { element }: Disk,
  { image, as }: Link,
  { bytes }: FileLook & { kind: "Read" },
): Problem[] | undefined {
  if (image.hasOffset === true) return undefined;
  const encryption = at(element, "encryption") ?? at(element, "source", "encryption");
  const isLuks = as === "" && image.format === "raw" && attribute(encryption, "format") === "luks";
  const wanted = isLuks ? "luks" : image.format;
  if (wanted === undefined || !isRecognized(wanted)) return undefined;
  const reading = readImageHeader(bytes);
  const what = as === "" ? image.path : as;
  if (reading.kind !== "Header")
    return [
      {
        reason: "DiskUnreadable",
        message: `${what} has a damaged header of format ${wanted}`,
        remedy: `restore ${image.path}; qemu-img check tells what is wrong with it`,
        isSkippable: false,
      },
    ];
  if (reading.header.format === wanted) return undefined;
  return [
    {
      reason: "DiskFormatMismatch",
      message: `${what} is said to have format ${wanted}, and its header says ${reading.header.format}`,
      remedy: `say the format that ${image.path} has, or put the right image there`,
      isSkippable: false,
    },
  ];
}

/** What the header itself says that stands against a start. */
function headerProblem(
  disk: Disk,
  { image, as }: Link,
  look: FileLook & { kind: "Read" },
  looks: FileLooks,
): Problem[] | undefined {
  const header = headerOf(image, look);
  if (header === undefined) return undefined;
  const isProbed = image.format === undefined;
  const hasOthers = header.backing !== undefined || header.dataFile !== undefined;
  // An image whose format nobody says could be a raw one, into which its guest wrote a header.
  if (isProbed && hasOthers && neededBy(image, looks).length > 0)
    return [
      {
        reason: "BackingChainInvalid",
        message: `${as} has a backing file of its own, and no image says that its format is ${header.format}`,
        remedy: `say so: qemu-img rebase -u -F ${header.format}`,
        isSkippable: true,
      },
    ];
  if (as !== "") return undefined;
  if (header.corrupt === true && at(disk.element, "readonly") === undefined)
    return [
      {
        reason: "DiskCorrupt",
        message: `${image.path} is marked as corrupt`,
        remedy: `repair it: qemu-img check -r all ${image.path}`,
        isSkippable: false,
      },
    ];
  const hasKey = at(disk.element, "encryption") ?? at(disk.element, "source", "encryption");
  if (header.encrypted !== true || hasKey !== undefined) return undefined;
  return [
    {
      reason: "SecretMissing",
      message: `${image.path} is encrypted, and the disk names no secret for it`,
      remedy: "give the disk an <encryption> with the secret of its key",
      isSkippable: false,
    },
  ];
}
