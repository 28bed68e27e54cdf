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
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
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

/** A network as it appears in errors. */
const network = struct({ name: text, uuid });

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
