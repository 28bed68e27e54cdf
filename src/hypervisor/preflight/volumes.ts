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
  /** What it is created from, and where that is. */
  source?: { name: VolumeName; path: string; place: VolumePlace } | undefined;
}

/** What is wrong with a volume, without saying where it is referred to. */
export interface VolumeProblem {
  reason: FindingReason;
  message: string;
  remedy: string;
  repair?: Repair | undefined;
}

/** Asks where the declared volumes are, and what they are created from. */
export function placeVolumes(volumes: readonly DeclaredVolume[], pools: Pools): Promise<PlacedVolume[]> {
  return Promise.all(
    volumes.map(async (volume, index) => {
      const path = `spec.volumes[${index}]`;
      const place = await pools.place(volume);
      const isThere = place.kind === "Listed" || place.kind === "Untold";
      return { volume, path, place, source: isThere ? undefined : await placeSource(volume, path, pools) };
    }),
  );
}

async function placeSource(
  { pool, source }: DeclaredVolume,
  path: string,
  pools: Pools,
): Promise<PlacedVolume["source"]> {
  const kind = source?.backing === undefined ? "clone" : "backing";
  const from = source?.[kind];
  if (from === undefined) return undefined;
  const name = { pool: from.pool ?? pool, name: from.name };
  return { name, path: `${path}.source.${kind}`, place: await pools.place(name) };
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
  { pool, name }: VolumeName,
  place: VolumePlace,
  looks: FileLooks,
  declared: readonly PlacedVolume[],
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
    case "Unlisted":
      return unlistedProblem({ pool, name }, place.path, looks, declared);
    case "Listed": {
      const volume = declaredAs({ pool, name }, declared);
      // Without a declaration nothing would be created in place of what is gone.
      if (looks.get(place.path)?.kind !== "Missing" || volume === undefined) return undefined;
      return {
        reason: "VolumeMissing",
        message: `volume ${name} is listed by pool ${pool}, but ${place.path} does not exist`,
        remedy: `have libvirt look anew, virsh pool-refresh ${pool}, and create the volume`,
        repair: { kind: "RefreshPool", pool },
      };
    }
    case "Untold":
      return undefined;
    default:
      return place satisfies never;
  }
}

function unlistedProblem(
  { pool, name }: VolumeName,
  path: string | undefined,
  looks: FileLooks,
  declared: readonly PlacedVolume[],
): VolumeProblem {
  const look = path === undefined ? undefined : looks.get(path);
  if (look?.kind === "Read")
    return {
      reason: "VolumeMissing",
      message: `volume ${name} is not listed by pool ${pool}, though ${path} exists`,
      remedy: `have libvirt look anew: virsh pool-refresh ${pool}`,
      repair: { kind: "RefreshPool", pool },
    };
  const volume = declaredAs({ pool, name }, declared);
  return {
    reason: "VolumeMissing",
    message: `volume ${name} of pool ${pool} does not exist`,
    remedy: `create volume ${name} in pool ${pool}, or declare it under spec.volumes`,
    repair: volume && { kind: "CreateVolume", volume },
  };
}

function declaredAs(
  { pool, name }: VolumeName,
  declared: readonly PlacedVolume[],
): DeclaredVolume | undefined {
  return declared.find(({ volume }) => volume.pool === pool && volume.name === name)?.volume;
}

/** The declared volumes that are not there, or what they are to be created from. */
export function volumeFindings(placed: readonly PlacedVolume[], looks: FileLooks): Finding[] {
  return placed.flatMap(({ volume, path, place, source }) => {
    const problem = volumeProblem(volume, place, looks, placed);
    if (problem === undefined) return [];
    const isToBeCreated = problem.repair?.kind === "CreateVolume";
    const sourceProblem =
      source && isToBeCreated ? volumeProblem(source.name, source.place, looks, placed) : undefined;
    if (source === undefined || sourceProblem === undefined) return [{ ...problem, path }];
    const message = `volume ${volume.name} cannot be created: ${sourceProblem.message}`;
    return [{ ...sourceProblem, message, path: source.path }];
  });
}
