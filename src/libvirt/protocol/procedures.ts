import { array, optional } from "../xdr/compound.ts";
import { hyper, int, opaque, uhyper, uint } from "../xdr/primitives.ts";
import { hostProcedures } from "./host-procedures.ts";
import { defineProcedure, defineQemuProcedure } from "./procedure.ts";
import {
  AUTH_TYPE_LIST_MAX,
  BLOCK_PEEK_MAX,
  DISK_ERRORS_MAX,
  DOMAIN_LIST_MAX,
  JOB_STATS_MAX,
  diskError,
  domain,
  domainStats,
  text,
  typedParam,
  uuid,
} from "./types.ts";

const dom = { dom: domain };
const domFlags = { dom: domain, flags: uint };
const flags = uint;

/** The calls that open and close a connection; Connection makes them itself. */
export const connectionProcedures = {
  connectOpen: defineProcedure("CONNECT_OPEN", 1, { name: optional(text), flags }, {}),
  connectClose: defineProcedure("CONNECT_CLOSE", 2, {}, {}),
  connectSupportsFeature: defineProcedure(
    "CONNECT_SUPPORTS_FEATURE",
    60,
    { feature: int },
    { supported: int },
  ),
  authList: defineProcedure("AUTH_LIST", 66, {}, { types: array(int, AUTH_TYPE_LIST_MAX) }),
  authPolkit: defineProcedure("AUTH_POLKIT", 70, {}, { complete: int }),
} as const;

/** The calls that a client makes, by libvirt's names; the numbers never change. */
export const procedures = {
  connectGetType: defineProcedure("CONNECT_GET_TYPE", 3, {}, { type: text }),
  connectGetVersion: defineProcedure("CONNECT_GET_VERSION", 4, {}, { hvVer: uhyper }),
  connectGetHostname: defineProcedure("CONNECT_GET_HOSTNAME", 59, {}, { hostname: text }),
  connectSupportsFeature: connectionProcedures.connectSupportsFeature,
  connectGetUri: defineProcedure("CONNECT_GET_URI", 110, {}, { uri: text }),
  connectGetLibVersion: defineProcedure("CONNECT_GET_LIB_VERSION", 157, {}, { libVer: uhyper }),
  connectListAllDomains: defineProcedure(
    "CONNECT_LIST_ALL_DOMAINS",
    273,
    { needResults: int, flags },
    { domains: array(domain, DOMAIN_LIST_MAX), ret: uint },
  ),
  connectDomainEventCallbackRegisterAny: defineProcedure(
    "CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY",
    316,
    { eventId: int, dom: optional(domain) },
    { callbackId: int },
  ),
  connectDomainEventCallbackDeregisterAny: defineProcedure(
    "CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY",
    317,
    { callbackId: int },
    {},
  ),
  connectGetAllDomainStats: defineProcedure(
    "CONNECT_GET_ALL_DOMAIN_STATS",
    344,
    { doms: array(domain, DOMAIN_LIST_MAX), stats: uint, flags },
    { retStats: array(domainStats, DOMAIN_LIST_MAX) },
  ),

  domainLookupByName: defineProcedure("DOMAIN_LOOKUP_BY_NAME", 23, { name: text }, dom),
  domainLookupByUuid: defineProcedure("DOMAIN_LOOKUP_BY_UUID", 24, { uuid }, dom),
  domainGetXmlDesc: defineProcedure("DOMAIN_GET_XML_DESC", 14, domFlags, { xml: text }),
  domainGetState: defineProcedure("DOMAIN_GET_STATE", 212, domFlags, { state: int, reason: int }),
  domainIsPersistent: defineProcedure("DOMAIN_IS_PERSISTENT", 151, dom, { persistent: int }),
  domainHasManagedSaveImage: defineProcedure("DOMAIN_HAS_MANAGED_SAVE_IMAGE", 183, domFlags, { result: int }),
  domainManagedSaveRemove: defineProcedure("DOMAIN_MANAGED_SAVE_REMOVE", 184, domFlags, {}),
  domainGetJobInfo: defineProcedure("DOMAIN_GET_JOB_INFO", 163, dom, {
    type: int,
    timeElapsed: uhyper,
    timeRemaining: uhyper,
    dataTotal: uhyper,
    dataProcessed: uhyper,
    dataRemaining: uhyper,
    memTotal: uhyper,
    memProcessed: uhyper,
    memRemaining: uhyper,
    fileTotal: uhyper,
    fileProcessed: uhyper,
    fileRemaining: uhyper,
  }),
  /** Like domainGetJobInfo, and says in "operation" which job it is: one of JobOperation. */
  domainGetJobStats: defineProcedure("DOMAIN_GET_JOB_STATS", 298, domFlags, {
    type: int,
    params: array(typedParam, JOB_STATS_MAX),
  }),
  domainAbortJob: defineProcedure("DOMAIN_ABORT_JOB", 164, dom, {}),
  domainGetBlockJobInfo: defineProcedure(
    "DOMAIN_GET_BLOCK_JOB_INFO",
    238,
    { dom: domain, path: text, flags },
    { found: int, type: int, bandwidth: uhyper, cur: uhyper, end: uhyper },
  ),
  /** The size of a disk's image in bytes; `path` is the disk's target, such as "vda", or its source. */
  domainGetBlockInfo: defineProcedure(
    "DOMAIN_GET_BLOCK_INFO",
    194,
    { dom: domain, path: text, flags },
    { allocation: uhyper, capacity: uhyper, physical: uhyper },
  ),
  /**
   * Bytes of a disk of format raw, whether its domain runs or not: `path` is the disk's target or its source, `size` at
   * most BLOCK_PEEK_MAX. Libvirt refuses the other formats, and bytes beyond the end of the image.
   */
  domainBlockPeek: defineProcedure(
    "DOMAIN_BLOCK_PEEK",
    103,
    { dom: domain, path: text, offset: uhyper, size: uint, flags },
    { buffer: opaque(BLOCK_PEEK_MAX) },
  ),
  /** The disks that have an I/O error, each with one of DiskErrorCode; with 0 for `maxErrors` only how many disks there are. */
  domainGetDiskErrors: defineProcedure(
    "DOMAIN_GET_DISK_ERRORS",
    263,
    { dom: domain, maxErrors: uint, flags },
    { errors: array(diskError, DISK_ERRORS_MAX), nerrors: int },
  ),

  domainCreateXml: defineProcedure("DOMAIN_CREATE_XML", 10, { xmlDesc: text, flags }, dom),
  domainCreateWithFlags: defineProcedure("DOMAIN_CREATE_WITH_FLAGS", 196, domFlags, dom),
  domainDefineXmlFlags: defineProcedure("DOMAIN_DEFINE_XML_FLAGS", 350, { xml: text, flags }, dom),
  domainUndefineFlags: defineProcedure("DOMAIN_UNDEFINE_FLAGS", 231, domFlags, {}),
  domainAttachDeviceFlags: defineProcedure(
    "DOMAIN_ATTACH_DEVICE_FLAGS",
    160,
    { dom: domain, xml: text, flags },
    {},
  ),
  /** libvirt answers when it has asked a running guest; that one may let go of the device later, or never. */
  domainDetachDeviceFlags: defineProcedure(
    "DOMAIN_DETACH_DEVICE_FLAGS",
    161,
    { dom: domain, xml: text, flags },
    {},
  ),
  domainShutdownFlags: defineProcedure("DOMAIN_SHUTDOWN_FLAGS", 258, domFlags, {}),
  domainDestroyFlags: defineProcedure("DOMAIN_DESTROY_FLAGS", 234, domFlags, {}),
  domainReboot: defineProcedure("DOMAIN_REBOOT", 27, domFlags, {}),
  domainReset: defineProcedure("DOMAIN_RESET", 245, domFlags, {}),
  domainSuspend: defineProcedure("DOMAIN_SUSPEND", 34, dom, {}),
  domainResume: defineProcedure("DOMAIN_RESUME", 28, dom, {}),
  domainPmWakeup: defineProcedure("DOMAIN_PM_WAKEUP", 267, domFlags, {}),
  domainSetMetadata: defineProcedure(
    "DOMAIN_SET_METADATA",
    264,
    { dom: domain, type: int, metadata: optional(text), key: optional(text), uri: optional(text), flags },
    {},
  ),
  domainGetMetadata: defineProcedure(
    "DOMAIN_GET_METADATA",
    265,
    { dom: domain, type: int, uri: optional(text), flags },
    { metadata: text },
  ),
  domainSetLifecycleAction: defineProcedure(
    "DOMAIN_SET_LIFECYCLE_ACTION",
    390,
    { dom: domain, type: uint, action: uint, flags },
    {},
  ),

  /** The guest's clock, which its agent is asked for. */
  domainGetTime: defineProcedure("DOMAIN_GET_TIME", 337, domFlags, { seconds: hyper, nseconds: uint }),
  /** How long libvirt waits for the agent: `timeout` is in seconds, or one of AgentTimeout. Lasts as long as the boot. */
  domainAgentSetResponseTimeout: defineProcedure(
    "DOMAIN_AGENT_SET_RESPONSE_TIMEOUT",
    420,
    { dom: domain, timeout: int, flags },
    { result: int },
  ),
  /** Sends a command to the guest agent; `timeout` is in seconds, or one of AgentTimeout. */
  qemuDomainAgentCommand: defineQemuProcedure(
    "DOMAIN_AGENT_COMMAND",
    3,
    { dom: domain, cmd: text, timeout: int, flags },
    { result: optional(text) },
  ),

  ...hostProcedures,
} as const;
