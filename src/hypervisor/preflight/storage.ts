import { isDeepStrictEqual } from "node:util";
import { LibvirtError, procedures } from "libvirt";
import type { Finding, Repair } from "../../../controller/finding.ts";
import { withMomentaryDomain } from "../momentary-domain.ts";
import { at, attribute, childElements, textOf, type XmlElement } from "../xml/element.ts";
import { disksOf } from "./disk.ts";
import { diskFindings, filesOfDisks, placeDisk } from "./disks.ts";
import { domainWith, FileReader, type FileLook, type FileLooks } from "./file-reader.ts";
import { fileFindings, filesOf } from "./files.ts";
import { readAnswer, type HostCalls } from "./host-calls.ts";
import { longestChain, neededBy, type Image } from "./image-chain.ts";
import type { Machine } from "./machine.ts";
import { filesOfNvram, nvramFindings } from "./nvram.ts";
import { areTooManyHanging, checkNoneHangs } from "../hanging-file.ts";
import { Pools } from "./pools.ts";
import { filesOfVolumes, placeVolumes, volumeFindings, type HeldByBoot } from "./volumes.ts";

/**
 * Disks with all that they are based on, declared volumes, and the files that a start opens. First libvirt is asked
 * where volumes are, then all files are looked at together, level by level of the images' chains, and then judged.
 */
export async function storageFindings(machine: Machine, calls: HostCalls): Promise<Finding[]> {
  const { xml, volumes, driver } = machine;
  const pools = new Pools(calls);
  const [disks, declared] = await Promise.all([
    Promise.all(disksOf(xml).map((disk) => placeDisk(disk, pools))),
    placeVolumes(volumes, pools),
  ]);
  const references = filesOf(xml);
  const { images, paths } = filesOfDisks(disks);
  const others = [
    ...paths,
    ...filesOfVolumes(declared),
    ...filesOfNvram(xml),
    ...references.map(({ file }) => file),
  ];
  // The other drivers have no files, or none that libvirt reads.
  const looks: FileLooks = driver === "qemu" ? await lookAt(images, others, machine, calls) : new Map();
  const held = heldByBoot(machine.liveXml);
  const { findings, told } = await diskFindings(disks, { looks, pools, declared, held });
  return [
    ...findings,
    // A volume that a disk is on is told of there, together with what the disk is to the machine.
    ...volumeFindings({ looks, declared, held }, told).filter(({ repair }) => !hasRepair(findings, repair)),
    ...fileFindings(references, looks),
    ...nvramFindings(xml, looks),
  ];
}

/** What the disks of the running boot are on: its files stay readable to it when somebody has deleted them. */
function heldByBoot(liveXml: XmlElement | undefined): HeldByBoot {
  const sources = childElements(at(liveXml, "devices"), "disk").map((disk) => at(disk, "source"));
  return {
    paths: new Set(sources.flatMap((source) => attribute(source, "file") ?? [])),
    volumes: new Set(sources.map((source) => `${attribute(source, "pool")}/${attribute(source, "volume")}`)),
  };
}

function hasRepair(findings: readonly Finding[], repair: Repair | undefined): boolean {
  return repair !== undefined && findings.some((finding) => isDeepStrictEqual(finding.repair, repair));
}

/** Looks at files, at images, and at what these need in turn. Nothing where libvirt does not let us. */
async function lookAt(
  images: readonly Image[],
  others: readonly string[],
  { xml, domain }: Machine,
  calls: HostCalls,
): Promise<FileLooks> {
  const { caller } = calls;
  const looks = new Map<string, FileLook>();
  const machine = domain.uuid ?? domain.name ?? "";
  checkNoneHangs(caller, machine);
  // The storage of others must not hold up this machine: of its own files nothing is claimed then.
  if (areTooManyHanging(caller)) return looks;
  const first = new Set([...images.map(({ path }) => path), ...others]);
  const platform = first.size === 0 ? undefined : await platformFor(xml, calls);
  if (platform === undefined) return looks;
  const files = [...first];
  try {
    await withMomentaryDomain(caller, domainWith(files, platform), async (dom) => {
      const reader = new FileReader({ caller, machine }, dom, platform);
      for (const [path, look] of await reader.read(files)) looks.set(path, look);
      await lookBelow(images, looks, reader);
    });
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw error;
  }
  return looks;
}

async function lookBelow(
  images: readonly Image[],
  looks: Map<string, FileLook>,
  reader: FileReader,
): Promise<void> {
  let level = images;
  for (let depth = 1; depth < longestChain && level.length > 0; depth += 1) {
    level = unique(level.flatMap((image) => neededBy(image, looks).map((needed) => needed.image)));
    const files = new Set(level.map(({ path }) => path).filter((path) => !looks.has(path)));
    if (files.size > 0)
      for (const [path, look] of await reader.redefineAndRead([...files])) looks.set(path, look);
  }
}

/** Many disks can have one base. */
function unique(images: readonly Image[]): Image[] {
  return [...new Map(images.map((image) => [JSON.stringify(image), image])).values()];
}

/** What a domain can be defined as here, whatever becomes of the machine's own emulator. */
async function platformFor(
  xml: XmlElement,
  calls: HostCalls,
): Promise<{ type: string; arch: string } | undefined> {
  const answer = await calls.ask(procedures.connectGetCapabilities, {});
  if (answer === undefined) return undefined;
  const guests = childElements(readAnswer(answer.capabilities), "guest").filter(
    (guest) => textOf(at(guest, "os_type")) === "hvm",
  );
  const wanted = attribute(at(xml, "os", "type"), "arch");
  const archs = guests.map((guest) => at(guest, "arch"));
  const arch = archs.find((one) => attribute(one, "name") === wanted) ?? archs[0];
  const types = childElements(arch, "domain").map((domain) => attribute(domain, "type"));
  const type = types.find((one) => one === "qemu") ?? types[0];
  const name = attribute(arch, "name");
  return type === undefined || name === undefined ? undefined : { type, arch: name };
}
