import type { Finding, FindingReason, Repair } from "../../../controller/finding.ts";
import type { DeclaredVolume } from "../../../crds/machine.ts";
import type { FileLooks } from "./file-reader.ts";
import type { Pools, VolumeName, VolumePlace } from "./pools.ts";

/** A volume that the resource declares, and where it is. */
export interface PlacedVolume {
  volume: DeclaredVolume;
  /** Where the resource declares it, such as "spec.volumes[0]". */
  path: string;
  place: VolumePlace;
  /** Whether it is a copy that libvirt has not finished. */
  isUnfinished: boolean;
  /** What it is created from, and where that is. */
  source?: { name: VolumeName; place: VolumePlace } | undefined;
}

/** What is wrong with a volume, without saying where it is referred to. */
export interface VolumeProblem {
  reason: FindingReason;
  message: string;
  remedy: string;
  repair?: Repair | undefined;
  /** The declaration of the volume, where it has one: nothing more is told of that. */
  declaration?: PlacedVolume | undefined;
}

/** What is known while volumes are judged. */
export interface KnownVolumes {
  looks: FileLooks;
  declared: readonly PlacedVolume[];
  held: HeldByBoot;
}

/** What the disks of the running boot are on. */
export interface HeldByBoot {
  paths: ReadonlySet<string>;
  /** As "pool/name". */
  volumes: ReadonlySet<string>;
}

/** Asks where the declared volumes are, and what they are created from. */
export function placeVolumes(volumes: readonly DeclaredVolume[], pools: Pools): Promise<PlacedVolume[]> {
  return Promise.all(
    volumes.map(async (volume, index) => {
      const path = `spec.volumes[${index}]`;
      const place = await pools.place(volume);
      const isThere = place.kind === "Listed" || place.kind === "Untold";
      const isUnfinished =
        place.kind === "Listed" && volume.source?.clone !== undefined && (await pools.isBeingWritten(volume));
      const source = isThere ? undefined : await placeSource(volume, pools);
      return { volume, path, place, isUnfinished, source };
    }),
  );
}

async function placeSource({ pool, source }: DeclaredVolume, pools: Pools): Promise<PlacedVolume["source"]> {
  const from = source?.backing ?? source?.clone;
  if (from === undefined) return undefined;
  const name = { pool: from.pool ?? pool, name: from.name };
  return { name, place: await pools.place(name) };
}

/** The files that tell whether these volumes are what their pools say. */
export function filesOfVolumes(placed: readonly PlacedVolume[]): string[] {
  return placed
    .flatMap(({ place, source }) => [place, source?.place])
    .flatMap((place) => (place !== undefined && "path" in place ? (place.path ?? []) : []))
    .filter((path) => path.startsWith("/"));
}

/** What is wrong with a volume; undefined for nothing that libvirt tells. Where it is declared, it can be created. */
export function volumeProblem(
  name: VolumeName,
  place: VolumePlace,
  known: KnownVolumes,
): VolumeProblem | undefined {
  const declaration = declarationOf(name, known);
  const problem = problemAt(name, place, known, declaration);
  return problem && { ...problem, declaration };
}

function problemAt(
  { pool, name }: VolumeName,
  place: VolumePlace,
  known: KnownVolumes,
  declaration: PlacedVolume | undefined,
): VolumeProblem | undefined {
  switch (place.kind) {
    case "PoolAbsent":
      return {
        reason: "PoolMissing",
        message: `pool ${pool} of volume ${name} does not exist`,
        remedy: `define pool ${pool}, or name another one`,
      };
    case "PoolInactive":
      return {
        reason: "PoolInactive",
        message: `pool ${pool} of volume ${name} is not active`,
        remedy: `start it: virsh pool-start ${pool}`,
        repair: { kind: "StartPool", pool },
      };
    case "Unlisted": {
      const isThere = place.path !== undefined && known.looks.get(place.path)?.kind === "Read";
      if (isThere)
        return {
          reason: "VolumeMissing",
          message: `volume ${name} is not listed by pool ${pool}, though ${place.path} exists`,
          remedy: `have libvirt look anew: virsh pool-refresh ${pool}`,
          repair: { kind: "RefreshPool", pool },
        };
      return {
        reason: "VolumeMissing",
        message: `volume ${name} of pool ${pool} does not exist`,
        remedy: `create volume ${name} in pool ${pool}, or declare it under spec.volumes`,
        ...(declaration && creation(declaration, known, [])),
      };
    }
    case "Listed":
      if (declaration?.isUnfinished === true)
        return {
          reason: "VolumeIncomplete",
          message: `volume ${name} of pool ${pool} is still being copied`,
          remedy: "wait until the copy is complete",
        };
      // Without a declaration nothing would be created in place of what is gone.
      if (known.looks.get(place.path)?.kind !== "Missing" || declaration === undefined) return undefined;
      return {
        reason: "VolumeMissing",
        message: `volume ${name} is listed by pool ${pool}, but ${place.path} does not exist`,
        remedy: `have libvirt look anew, virsh pool-refresh ${pool}, and create the volume`,
        repair: { kind: "RefreshPool", pool },
      };
    case "Untold":
      return undefined;
    default:
      return place satisfies never;
  }
}

/**
 * An empty volume in place of one that the running guest still writes to would be the end of its data; one that is made
 * from another is meant to begin anew.
 */
function stillHeld({ volume }: PlacedVolume): Partial<VolumeProblem> {
  return {
    message:
      `volume ${volume.name} of pool ${volume.pool} does not exist any more, and the running guest still has what was ` +
      "in it: an empty one in its place would be the end of that",
    remedy: "copy it out of the running guest, or power the guest off: then an empty volume is created",
  };
}

function isHeld({ volume, place }: PlacedVolume, { held }: KnownVolumes): boolean {
  const path = "path" in place ? place.path : undefined;
  return held.volumes.has(`${volume.pool}/${volume.name}`) || (path !== undefined && held.paths.has(path));
}

/** How a declared volume comes to be: it is created, or what stands against that is mended first. */
function creation(
  declaration: PlacedVolume,
  known: KnownVolumes,
  above: readonly PlacedVolume[],
): Partial<VolumeProblem> {
  const { volume, source } = declaration;
  if (source === undefined && isHeld(declaration, known)) return stillHeld(declaration);
  const ofSource = source && problemAt(source.name, source.place, known, undefined);
  if (source === undefined || ofSource === undefined) return { repair: { kind: "CreateVolume", volume } };
  const { message: why, remedy } = ofSource;
  const message = `volume ${volume.name} of pool ${volume.pool} does not exist, and cannot be created: ${why}`;
  const next = declarationOf(source.name, known);
  const isLoop = next !== undefined && [...above, declaration].includes(next);
  if (source.place.kind !== "Unlisted" || next === undefined || isLoop)
    return { message, remedy, repair: ofSource.repair };
  const { repair = ofSource.repair } = creation(next, known, [...above, declaration]);
  return { message, remedy, repair };
}

function declarationOf({ pool, name }: VolumeName, { declared }: KnownVolumes): PlacedVolume | undefined {
  return declared.find(({ volume }) => volume.pool === pool && volume.name === name);
}

/** The declared volumes that are not there, less those that are told of elsewhere. */
export function volumeFindings(known: KnownVolumes, told: ReadonlySet<PlacedVolume>): Finding[] {
  return known.declared.flatMap((declaration) => {
    const problem = volumeProblem(declaration.volume, declaration.place, known);
    if (problem === undefined || told.has(declaration)) return [];
    const { reason, message, remedy, repair } = problem;
    return [{ reason, message, remedy, repair, path: declaration.path }];
  });
}
