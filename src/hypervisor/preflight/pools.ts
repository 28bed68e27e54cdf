import { HostListFlag, HostXmlFlag, procedures, type StoragePool } from "libvirt";
import { at, attribute, textOf, type XmlElement } from "../xml/element.ts";
import { readAnswer, type HostCalls } from "./host-calls.ts";

/** What libvirt says of a pool. */
export type PoolLook =
  | { readonly kind: "Active"; readonly pool: StoragePool }
  | { readonly kind: "Inactive" | "Absent" | "Untold" };

/** Where libvirt says that a volume is. */
export type VolumePlace =
  | { readonly kind: "Listed"; readonly path: string }
  /** Its active pool does not list it; the path is where it would be, where that is told. */
  | { readonly kind: "Unlisted"; readonly path?: string | undefined }
  | { readonly kind: "PoolInactive" | "PoolAbsent" | "Untold" };

/** A volume by its names. */
export interface VolumeName {
  pool: string;
  name: string;
}

/** Pools whose start makes files appear: the others have theirs whether they are active or not. */
const bringingTypes = new Set([
  "fs",
  "netfs",
  "logical",
  "disk",
  "iscsi",
  "scsi",
  "mpath",
  "zfs",
  "vstorage",
]);

/** The storage pools of the host, each of which is asked about once in a look. */
export class Pools {
  readonly #calls: HostCalls;
  readonly #looks = new Map<string, Promise<PoolLook>>();
  readonly #directories = new Map<string, Promise<string | undefined>>();
  #bringing: Promise<{ pool: string; directory: string }[]> | undefined;

  constructor(calls: HostCalls) {
    this.#calls = calls;
  }

  /** Whether a pool is there, and active. */
  look(name: string): Promise<PoolLook> {
    return remembered(this.#looks, name, () => this.#look(name));
  }

  async #look(name: string): Promise<PoolLook> {
    const found = await this.#calls.find(procedures.storagePoolLookupByName, { name }, "NO_STORAGE_POOL");
    if (found.kind !== "Found") return { kind: found.kind };
    const { pool } = found.result;
    const answer = await this.#calls.ask(procedures.storagePoolIsActive, { pool });
    if (answer === undefined) return { kind: "Untold" };
    return answer.active === 1 ? { kind: "Active", pool } : { kind: "Inactive" };
  }

  /** Where a volume is. */
  async place({ pool: poolName, name }: VolumeName): Promise<VolumePlace> {
    const look = await this.look(poolName);
    if (look.kind === "Absent") return { kind: "PoolAbsent" };
    if (look.kind === "Inactive") return { kind: "PoolInactive" };
    if (look.kind !== "Active") return { kind: "Untold" };
    const { pool } = look;
    const found = await this.#calls.find(procedures.storageVolLookupByName, { pool, name }, "NO_STORAGE_VOL");
    if (found.kind === "Untold") return { kind: "Untold" };
    if (found.kind === "Absent") {
      const directory = await this.#directory(pool);
      return { kind: "Unlisted", path: directory && `${directory}/${name}` };
    }
    const { vol } = found.result;
    // The key of a file is its path, and that of a logical volume something else.
    if (vol.key.startsWith("/")) return { kind: "Listed", path: vol.key };
    const answer = await this.#calls.ask(procedures.storageVolGetPath, { vol });
    return answer === undefined ? { kind: "Untold" } : { kind: "Listed", path: answer.name };
  }

  /**
   * Whether libvirt is still writing a volume, as while it copies another one into it. It refuses to resize one then
   * before it looks at the size that is asked for, and a size that is smaller than the volume's always.
   */
  async isBeingWritten({ pool: poolName, name }: VolumeName): Promise<boolean> {
    const look = await this.look(poolName);
    if (look.kind !== "Active") return false;
    const vol = await this.#calls.ask(procedures.storageVolLookupByName, { pool: look.pool, name });
    if (vol === undefined) return false;
    const args = { vol: vol.vol, capacity: 1n, flags: 0 };
    const answer = await this.#calls.find(procedures.storageVolResize, args, "OPERATION_INVALID");
    return answer.kind === "Absent";
  }

  #directory(pool: StoragePool): Promise<string | undefined> {
    return remembered(this.#directories, pool.name, async () => directoryOf(await this.#xml(pool)));
  }

  /** The inactive pool whose start would make a path appear, such as one that mounts a server; undefined for none. */
  async bringing(path: string): Promise<string | undefined> {
    this.#bringing ??= this.#listBringing();
    return (await this.#bringing).find(({ directory }) => path.startsWith(`${directory}/`))?.pool;
  }

  async #listBringing(): Promise<{ pool: string; directory: string }[]> {
    const answer = await this.#calls.ask(procedures.connectListAllStoragePools, {
      needResults: 1,
      flags: HostListFlag.Inactive,
    });
    const pools = (answer?.pools ?? []).map(async (pool) => {
      const xml = await this.#xml(pool);
      const directory = directoryOf(xml);
      const isBringing = bringingTypes.has(attribute(xml, "type") ?? "");
      return directory === undefined || !isBringing ? [] : [{ pool: pool.name, directory }];
    });
    return (await Promise.all(pools)).flat();
  }

  async #xml(pool: StoragePool): Promise<XmlElement | undefined> {
    const answer = await this.#calls.ask(procedures.storagePoolGetXmlDesc, { pool, flags: HostXmlFlag.None });
    return answer && readAnswer(answer.xml);
  }
}

function directoryOf(pool: XmlElement | undefined): string | undefined {
  const path = textOf(at(pool, "target", "path"));
  return path?.startsWith("/") === true ? path.replace(/\/+$/, "") : undefined;
}

function remembered<K, V>(known: Map<K, V>, key: K, ask: () => V): V {
  const before = known.get(key);
  if (before !== undefined) return before;
  const answer = ask();
  known.set(key, answer);
  return answer;
}
