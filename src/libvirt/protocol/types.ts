import type { Codec, Infer } from "../xdr/codec.ts";
import { array, optional, struct, union } from "../xdr/compound.ts";
import { double, hyper, int, string, uhyper, uint } from "../xdr/primitives.ts";

/** The longest string of libvirt's protocol, in bytes. */
export const STRING_MAX = 4_194_304;
/** The longest list of domains. */
export const DOMAIN_LIST_MAX = 16_384;
/** The most statistics of one domain. */
export const DOMAIN_STATS_MAX = 262_144;
/** The most statistics of one job. */
export const JOB_STATS_MAX = 64;
/** The longest list of disks with errors. */
export const DISK_ERRORS_MAX = 256;
/** The longest piece of a disk, in bytes. */
export const BLOCK_PEEK_MAX = 4_194_304;
/** The longest list of networks, of interfaces, of storage pools, and of the volumes of a pool. */
export const HOST_LIST_MAX = 16_384;
/** The longest list of devices of the host. */
export const NODE_DEVICE_LIST_MAX = 65_536;
/** The most numbers that say how the host shares memory. */
export const NODE_MEMORY_PARAMETERS_MAX = 64;
/** The most statistics of the host's memory. */
export const NODE_MEMORY_STATS_MAX = 16;
/** The room for the name of the host's processor, in bytes. */
export const NODE_MODEL_BYTES = 32;
/** The longest list of ways to authenticate. */
export const AUTH_TYPE_LIST_MAX = 20;

/** Any text: names, XML, messages. */
export const text = string(STRING_MAX);

const UUID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** A UUID as text in its canonical form: 36 characters, lower case. Upper case is accepted when writing. */
export const uuid: Codec<string> = {
  shape: { type: "uuid" },
  leastBytes: 16,
  decode: (from) => {
    const hex = from.hex(16);
    const groups = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)];
    // Put together by a template they would stay apart in memory, and take six times as much of it.
    return groups.join("-");
  },
  encode: (to, value) => {
    if (!UUID_PATTERN.test(value)) {
      throw new TypeError(`"${value}" is not a UUID such as 6695eb01-f6a4-8304-79aa-97f2502e193f`);
    }
    to.opaque(Buffer.from(value.replaceAll("-", ""), "hex"));
  },
};

/** The ID of a running domain; undefined when it does not run, which is any negative number on the wire. */
const domainId: Codec<number | undefined> = {
  shape: { type: "domainId" },
  leastBytes: 4,
  decode: (from) => {
    const id = from.int();
    return id < 0 ? undefined : id;
  },
  encode: (to, value) => int.encode(to, value ?? -1),
};

/** A domain as libvirt names it in every call and event. libvirt goes by the UUID. */
export const domain = struct({ name: text, uuid, id: domainId });
/** A domain as libvirt names it: `id` is undefined while it does not run. */
export type Domain = Infer<typeof domain>;

/** A virtual network of the host. */
export const network = struct({ name: text, uuid });
/** A virtual network of the host. libvirt goes by the UUID. */
export type Network = Infer<typeof network>;

/** A place on the host that holds volumes. */
export const storagePool = struct({ name: text, uuid });
/** A place on the host that holds volumes. libvirt goes by the UUID. */
export type StoragePool = Infer<typeof storagePool>;

/** A volume of the storage pool of this name. */
export const storageVol = struct({ pool: text, name: text, key: text });
/** A volume of the storage pool of this name; `key` is its path for most kinds of pool. libvirt goes by pool and name. */
export type StorageVol = Infer<typeof storageVol>;

/** An interface of the host's own network. */
export const hostInterface = struct({ name: text, mac: text });
/** An interface of the host's own network. */
export type HostInterface = Infer<typeof hostInterface>;

/** Rules for the traffic of domains. */
export const nwfilter = struct({ name: text, uuid });
/** Rules for the traffic of domains. libvirt goes by the UUID. */
export type Nwfilter = Infer<typeof nwfilter>;

/** A device of the host. */
export const nodeDevice = struct({ name: text });
/** A device of the host, by a name such as "pci_0000_02_10_7". */
export type NodeDevice = Infer<typeof nodeDevice>;

/** A secret of the host, without its value. */
export const secret = struct({ uuid, usageType: int, usageId: text });
/** A secret of the host, without its value: `usageType` is one of SecretUsage, `usageId` what it is for. libvirt goes by the UUID. */
export type Secret = Infer<typeof secret>;

/** A named value of one of seven types, as in statistics. */
export const typedParam = struct({
  field: text,
  value: union({
    int: [1, int],
    uint: [2, uint],
    hyper: [3, hyper],
    uhyper: [4, uhyper],
    double: [5, double],
    boolean: [6, int],
    string: [7, text],
  }),
});
/** A named value of one of seven types; a boolean is an int that is not 0. */
export type TypedParam = Infer<typeof typedParam>;

/** The value of the int among them that has this name. */
export function intParam(params: readonly TypedParam[], field: string): number | undefined {
  const value = params.find((param) => param.field === field)?.value;
  return value?.type === "int" ? value.value : undefined;
}

/** The statistics of one domain. */
export const domainStats = struct({ dom: domain, params: array(typedParam, DOMAIN_STATS_MAX) });

/** One number about the host's memory. */
export const nodeMemoryStat = struct({ field: text, value: uhyper });

/** A disk by its target, such as "vda", and its I/O error. */
export const diskError = struct({ disk: text, error: int });

/** The payload of a reply that failed. */
export const remoteError = struct({
  code: int,
  domain: int,
  message: optional(text),
  level: int,
  dom: optional(domain),
  str1: optional(text),
  str2: optional(text),
  str3: optional(text),
  int1: int,
  int2: int,
  net: optional(network),
});
/** The payload of a reply that failed. */
export type RemoteError = Infer<typeof remoteError>;
