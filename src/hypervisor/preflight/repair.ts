import { LibvirtError, procedures, type Procedure, type StoragePool } from "libvirt";
import type { Repair } from "../../../controller/finding.ts";
import { bytesOf, type DeclaredVolume } from "../../../crds/machine.ts";
import { element, type XmlElement } from "../xml/element.ts";
import { formatXml } from "../xml/format.ts";
import type { Caller } from "../caller.ts";
import { isRefusal } from "../refusal.ts";

/** A server that a pool mounts and a volume that is copied take their time, and the failure must be libvirt's. */
const repairTimeoutMs = 600_000;

/** A copy is as long as its source: who gave up on it would take half of it for the whole. */
const copyTimeoutMs = 24 * 3600 * 1000;

/** Mends what a start needs. What is mended already counts as done. Rejects as Session.call does. */
export async function performRepair(session: Caller, repair: Repair): Promise<void> {
  const host = new Mending(session);
  switch (repair.kind) {
    case "StartPool":
      return host.startPool(repair.pool);
    case "RefreshPool":
      return host.refreshPool(repair.pool);
    case "StartNetwork":
      return host.startNetwork(repair.network);
    case "StartDevice":
      return host.startDevice(repair.device);
    case "CreateVolume":
      return host.createVolume(repair.volume);
    default:
      return repair satisfies never;
  }
}

class Mending {
  readonly #session: Caller;

  constructor(session: Caller) {
    this.#session = session;
  }

  /** Storage that hangs holds up no effect on a domain. */
  call<A, R>(procedure: Procedure<A, R>, args: NoInfer<A>, timeoutMs = repairTimeoutMs): Promise<R> {
    return this.#session.call(procedure, args, { timeoutMs, waitsFor: "Storage" });
  }

  async startPool(name: string): Promise<void> {
    const pool = await this.#pool(name);
    const isActive = async () => (await this.call(procedures.storagePoolIsActive, { pool })).active === 1;
    await startUnless(isActive, () => this.call(procedures.storagePoolCreate, { pool, flags: 0 }));
  }

  async refreshPool(name: string): Promise<void> {
    await this.call(procedures.storagePoolRefresh, { pool: await this.#pool(name), flags: 0 });
  }

  async startNetwork(name: string): Promise<void> {
    const { net } = await this.call(procedures.networkLookupByName, { name });
    const isActive = async () => (await this.call(procedures.networkIsActive, { net })).active === 1;
    await startUnless(isActive, () => this.call(procedures.networkCreate, { net }));
  }

  async startDevice(name: string): Promise<void> {
    try {
      await this.call(procedures.nodeDeviceCreate, { name, flags: 0 });
    } catch (error) {
      // It is active already.
      if (!isRefusal(error, "OPERATION_INVALID")) throw error;
    }
  }

  /** libvirt refuses to create a volume over one that is there, or over its file. */
  async createVolume(volume: DeclaredVolume): Promise<void> {
    const pool = await this.#pool(volume.pool);
    if ((await this.#find(pool, volume.name)) !== undefined) return;
    const { backing, clone } = volume.source ?? {};
    const from = backing ?? clone;
    const source = from && (await this.#source(from.pool ?? volume.pool, from.name));
    const capacity = volume.capacity === undefined ? source?.capacity : BigInt(bytesOf(volume.capacity));
    try {
      if (clone !== undefined && source !== undefined) {
        const xml = formatXml(volumeXml(volume, capacity));
        const args = { pool, xml, clonevol: source.vol, flags: 0 };
        const { vol } = await this.call(procedures.storageVolCreateXmlFrom, args, copyTimeoutMs);
        // A copy has the capacity of what was copied, whatever its XML says.
        if (capacity !== undefined && capacity > source.capacity)
          await this.call(procedures.storageVolResize, { vol, capacity, flags: 0 });
      } else {
        const path = source && (await this.call(procedures.storageVolGetPath, { vol: source.vol })).name;
        const xml = formatXml(volumeXml(volume, capacity, path));
        await this.call(procedures.storageVolCreateXml, { pool, xml, flags: 0 });
      }
    } catch (error) {
      if (!isRefusal(error, "STORAGE_VOL_EXIST")) throw error;
    }
  }

  async #source(pool: string, name: string) {
    const found = { pool: await this.#pool(pool), name };
    const { vol } = await this.call(procedures.storageVolLookupByName, found);
    const { capacity } = await this.call(procedures.storageVolGetInfo, { vol });
    return { vol, capacity };
  }

  async #find(pool: StoragePool, name: string) {
    try {
      return (await this.call(procedures.storageVolLookupByName, { pool, name })).vol;
    } catch (error) {
      if (isRefusal(error, "NO_STORAGE_VOL")) return undefined;
      throw error;
    }
  }

  async #pool(name: string): Promise<StoragePool> {
    return (await this.call(procedures.storagePoolLookupByName, { name })).pool;
  }
}

async function startUnless(isActive: () => Promise<boolean>, start: () => Promise<unknown>): Promise<void> {
  if (await isActive()) return;
  try {
    await start();
  } catch (error) {
    // Somebody else may have been faster.
    if (!(error instanceof LibvirtError) || !(await isActive())) throw error;
  }
}

/** The XML of a volume that is to be created; with the path of its backing volume where it is an overlay. */
function volumeXml(
  { name, format, source }: DeclaredVolume,
  capacity: bigint | undefined,
  backingPath?: string,
): XmlElement {
  const backing = source?.backing;
  return element("volume", {}, [
    element("name", {}, [name]),
    // One that takes no space yet may be larger than what is free.
    ...(format === "raw" ? [element("allocation", {}, ["0"])] : []),
    element("capacity", { unit: "bytes" }, [String(capacity ?? 0n)]),
    element("target", {}, [element("format", { type: format })]),
    ...(backing === undefined || backingPath === undefined
      ? []
      : [
          element("backingStore", {}, [
            element("path", {}, [backingPath]),
            element("format", { type: backing.format }),
          ]),
        ]),
  ]);
}
