import { array, optional } from "../xdr/compound.ts";
import { charVector, int, uhyper, uint } from "../xdr/primitives.ts";
import { defineProcedure } from "./procedure.ts";
import {
  HOST_LIST_MAX,
  NODE_DEVICE_LIST_MAX,
  NODE_MEMORY_PARAMETERS_MAX,
  NODE_MEMORY_STATS_MAX,
  NODE_MODEL_BYTES,
  hostInterface,
  network,
  nodeDevice,
  nodeMemoryStat,
  nwfilter,
  secret,
  storagePool,
  storageVol,
  text,
  typedParam,
  uuid,
} from "./types.ts";

const flags = uint;
const net = { net: network };
const pool = { pool: storagePool };
const vol = { vol: storageVol };
const list = { needResults: int, flags };
const callbackId = int;

/**
 * The calls about what a host has for its domains: its processors and memory, networks, storage, devices and secrets.
 * Each kind has a driver of its own; a daemon without it answers NO_SUPPORT. The values of secrets cannot be read.
 *
 * Look an object up before anything else is asked about it: libvirtd 9.0.0 dies of networkIsActive, interfaceIsActive,
 * storagePoolIsActive, storagePoolGetInfo and storageVolGetInfo where it does not have the driver.
 */
export const hostProcedures = {
  /** XML: what the host is, and which guests it can run. */
  connectGetCapabilities: defineProcedure("CONNECT_GET_CAPABILITIES", 7, {}, { capabilities: text }),
  /** XML: what a domain can have here with this emulator, architecture, machine and virtType; libvirt's choice of each without. */
  connectGetDomainCapabilities: defineProcedure(
    "CONNECT_GET_DOMAIN_CAPABILITIES",
    342,
    {
      emulatorbin: optional(text),
      arch: optional(text),
      machine: optional(text),
      virttype: optional(text),
      flags,
    },
    { capabilities: text },
  ),
  /**
   * `cpus` are those that are online; the numbers below it multiply to those that could be. `memory` is in KiB, and on
   * some virtual hosts a part only of what nodeGetMemoryStats tells: libvirt adds up the NUMA cells that it sees.
   */
  nodeGetInfo: defineProcedure(
    "NODE_GET_INFO",
    6,
    {},
    {
      model: charVector(NODE_MODEL_BYTES),
      memory: uhyper,
      cpus: int,
      mhz: int,
      nodes: int,
      sockets: int,
      cores: int,
      threads: int,
    },
  ),
  /**
   * "total", "free", "buffers" and "cached" in KiB, of a NUMA cell or of ALL_CELLS. With 0 for `nparams`, only how many
   * numbers there are, which is what `nparams` must be.
   */
  nodeGetMemoryStats: defineProcedure(
    "NODE_GET_MEMORY_STATS",
    228,
    { nparams: int, cellNum: int, flags },
    { params: array(nodeMemoryStat, NODE_MEMORY_STATS_MAX), nparams: int },
  ),
  /**
   * How the host shares equal pages of memory. With 0 for `nparams`, only how many numbers there are: libvirt asks
   * nothing for that and takes no lock, and yet it is among the few such calls for which it has no workers set apart.
   */
  nodeGetMemoryParameters: defineProcedure(
    "NODE_GET_MEMORY_PARAMETERS",
    289,
    { nparams: int, flags },
    { params: array(typedParam, NODE_MEMORY_PARAMETERS_MAX), nparams: int },
  ),
  /** In bytes, without what buffers and caches would give back. */
  nodeGetFreeMemory: defineProcedure("NODE_GET_FREE_MEMORY", 102, {}, { freeMem: uhyper }),

  connectListAllNetworks: defineProcedure("CONNECT_LIST_ALL_NETWORKS", 283, list, {
    nets: array(network, HOST_LIST_MAX),
    ret: uint,
  }),
  networkLookupByName: defineProcedure("NETWORK_LOOKUP_BY_NAME", 46, { name: text }, net),
  networkGetXmlDesc: defineProcedure("NETWORK_GET_XML_DESC", 43, { ...net, flags }, { xml: text }),
  networkIsActive: defineProcedure("NETWORK_IS_ACTIVE", 152, net, { active: int }),
  /** Starts a defined network. */
  networkCreate: defineProcedure("NETWORK_CREATE", 39, net, {}),
  /** Stops a network; its definition stays. */
  networkDestroy: defineProcedure("NETWORK_DESTROY", 42, net, {}),
  networkDefineXml: defineProcedure("NETWORK_DEFINE_XML", 41, { xml: text }, net),
  /** Since libvirt 7.7. */
  networkDefineXmlFlags: defineProcedure("NETWORK_DEFINE_XML_FLAGS", 432, { xml: text, flags }, net),
  connectNetworkEventRegisterAny: defineProcedure(
    "CONNECT_NETWORK_EVENT_REGISTER_ANY",
    313,
    { eventId: int, net: optional(network) },
    { callbackId },
  ),
  connectNetworkEventDeregisterAny: defineProcedure(
    "CONNECT_NETWORK_EVENT_DEREGISTER_ANY",
    314,
    { callbackId },
    {},
  ),

  connectListAllStoragePools: defineProcedure("CONNECT_LIST_ALL_STORAGE_POOLS", 281, list, {
    pools: array(storagePool, HOST_LIST_MAX),
    ret: uint,
  }),
  storagePoolLookupByName: defineProcedure("STORAGE_POOL_LOOKUP_BY_NAME", 84, { name: text }, pool),
  /** `state` is one of StoragePoolState; the sizes are in bytes, as they were at the last refresh. */
  storagePoolGetInfo: defineProcedure("STORAGE_POOL_GET_INFO", 87, pool, {
    state: uint,
    capacity: uhyper,
    allocation: uhyper,
    available: uhyper,
  }),
  storagePoolGetXmlDesc: defineProcedure("STORAGE_POOL_GET_XML_DESC", 88, { ...pool, flags }, { xml: text }),
  storagePoolIsActive: defineProcedure("STORAGE_POOL_IS_ACTIVE", 154, pool, { active: int }),
  /** Starts a defined pool. */
  storagePoolCreate: defineProcedure("STORAGE_POOL_CREATE", 78, { ...pool, flags }, {}),
  /** Stops a pool; its definition and its volumes stay. */
  storagePoolDestroy: defineProcedure("STORAGE_POOL_DESTROY", 80, pool, {}),
  /** Looks which volumes there are: libvirt does not notice those that come and go without it. */
  storagePoolRefresh: defineProcedure("STORAGE_POOL_REFRESH", 83, { ...pool, flags }, {}),
  storagePoolDefineXml: defineProcedure("STORAGE_POOL_DEFINE_XML", 77, { xml: text, flags }, pool),
  storagePoolListAllVolumes: defineProcedure(
    "STORAGE_POOL_LIST_ALL_VOLUMES",
    282,
    { ...pool, ...list },
    { vols: array(storageVol, HOST_LIST_MAX), ret: uint },
  ),
  connectStoragePoolEventRegisterAny: defineProcedure(
    "CONNECT_STORAGE_POOL_EVENT_REGISTER_ANY",
    368,
    { eventId: int, pool: optional(storagePool) },
    { callbackId },
  ),
  connectStoragePoolEventDeregisterAny: defineProcedure(
    "CONNECT_STORAGE_POOL_EVENT_DEREGISTER_ANY",
    369,
    { callbackId },
    {},
  ),

  storageVolLookupByName: defineProcedure("STORAGE_VOL_LOOKUP_BY_NAME", 95, { ...pool, name: text }, vol),
  /** Among the volumes of the pools that are active. */
  storageVolLookupByPath: defineProcedure("STORAGE_VOL_LOOKUP_BY_PATH", 97, { path: text }, vol),
  /** `type` is one of StorageVolType; the sizes are in bytes. */
  storageVolGetInfo: defineProcedure("STORAGE_VOL_GET_INFO", 98, vol, {
    type: int,
    capacity: uhyper,
    allocation: uhyper,
  }),
  storageVolGetXmlDesc: defineProcedure("STORAGE_VOL_GET_XML_DESC", 99, { ...vol, flags }, { xml: text }),
  storageVolGetPath: defineProcedure("STORAGE_VOL_GET_PATH", 100, vol, { name: text }),
  storageVolCreateXml: defineProcedure("STORAGE_VOL_CREATE_XML", 93, { ...pool, xml: text, flags }, vol),
  /** Creates a volume with the content of `clonevol`, and answers when all of it is copied. */
  storageVolCreateXmlFrom: defineProcedure(
    "STORAGE_VOL_CREATE_XML_FROM",
    125,
    { ...pool, xml: text, clonevol: storageVol, flags },
    vol,
  ),
  /** `capacity` is in bytes; libvirt makes no volume smaller unless it is told so. */
  storageVolResize: defineProcedure("STORAGE_VOL_RESIZE", 260, { ...vol, capacity: uhyper, flags }, {}),
  storageVolDelete: defineProcedure("STORAGE_VOL_DELETE", 94, { ...vol, flags }, {}),

  connectListAllInterfaces: defineProcedure("CONNECT_LIST_ALL_INTERFACES", 284, list, {
    ifaces: array(hostInterface, HOST_LIST_MAX),
    ret: uint,
  }),
  interfaceLookupByName: defineProcedure(
    "INTERFACE_LOOKUP_BY_NAME",
    128,
    { name: text },
    { iface: hostInterface },
  ),
  interfaceIsActive: defineProcedure("INTERFACE_IS_ACTIVE", 156, { iface: hostInterface }, { active: int }),
  nwfilterLookupByName: defineProcedure("NWFILTER_LOOKUP_BY_NAME", 175, { name: text }, { nwfilter }),

  connectListAllNodeDevices: defineProcedure("CONNECT_LIST_ALL_NODE_DEVICES", 285, list, {
    devices: array(nodeDevice, NODE_DEVICE_LIST_MAX),
    ret: uint,
  }),
  nodeDeviceLookupByName: defineProcedure(
    "NODE_DEVICE_LOOKUP_BY_NAME",
    113,
    { name: text },
    { dev: nodeDevice },
  ),
  nodeDeviceGetXmlDesc: defineProcedure(
    "NODE_DEVICE_GET_XML_DESC",
    114,
    { name: text, flags },
    { xml: text },
  ),
  /** Gives a device that a guest had back to its driver on the host. */
  nodeDeviceReAttach: defineProcedure("NODE_DEVICE_RE_ATTACH", 119, { name: text }, {}),
  /** Starts a defined device, which is a mediated one. Since libvirt 7.3. */
  nodeDeviceCreate: defineProcedure("NODE_DEVICE_CREATE", 430, { name: text, flags }, {}),
  connectNodeDeviceEventRegisterAny: defineProcedure(
    "CONNECT_NODE_DEVICE_EVENT_REGISTER_ANY",
    374,
    { eventId: int, dev: optional(nodeDevice) },
    { callbackId },
  ),
  connectNodeDeviceEventDeregisterAny: defineProcedure(
    "CONNECT_NODE_DEVICE_EVENT_DEREGISTER_ANY",
    375,
    { callbackId },
    {},
  ),

  secretLookupByUuid: defineProcedure("SECRET_LOOKUP_BY_UUID", 141, { uuid }, { secret }),
  /** `usageType` is one of SecretUsage, `usageId` what the secret's XML says that it is for. */
  secretLookupByUsage: defineProcedure(
    "SECRET_LOOKUP_BY_USAGE",
    147,
    { usageType: int, usageId: text },
    { secret },
  ),
  connectSecretEventRegisterAny: defineProcedure(
    "CONNECT_SECRET_EVENT_REGISTER_ANY",
    380,
    { eventId: int, secret: optional(secret) },
    { callbackId },
  ),
  connectSecretEventDeregisterAny: defineProcedure(
    "CONNECT_SECRET_EVENT_DEREGISTER_ANY",
    381,
    { callbackId },
    {},
  ),
} as const;
