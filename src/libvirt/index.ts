/** A client of libvirt's RPC protocol: see README.md. */
export { Connection } from "./connection/connection.ts";
export type { ConnectionOptions, ConnectionState } from "./connection/connection.ts";
export type { CallOptions } from "./connection/calls.ts";
export type { EventListener } from "./connection/event-listeners.ts";
export type { KeepaliveOptions } from "./connection/keepalive.ts";
export { parseUri } from "./connection/uri.ts";
export type { Address, AddressSurroundings, UnixAddress } from "./connection/uri.ts";

export { Session } from "./session/session.ts";
export type { SessionCallOptions, SessionOptions, SessionState } from "./session/session.ts";
export type {
  Connected,
  DaemonEvent,
  Disconnected,
  DomainEvent,
  HostChange,
  Held,
  HypervisorInfo,
  Listed,
  Released,
  SessionEvent,
} from "./session/session-event.ts";
export type { ListedDomain } from "./session/list-domains.ts";
export type { WaitsFor } from "./session/connections.ts";
export type { ReconnectOptions } from "./session/backoff.ts";

export {
  AddressError,
  CallHeldError,
  CallTimeoutError,
  ConnectionError,
  LibvirtError,
  ProtocolError,
} from "./errors.ts";
export type { Aftermath, ConnectionErrorKind } from "./errors.ts";

export { procedures } from "./protocol/procedures.ts";
export { events, hostEvents } from "./protocol/events.ts";
export type { EventPayloads } from "./protocol/events.ts";
export { defineEvent, defineProcedure, defineQemuProcedure } from "./protocol/procedure.ts";
export type { EventProcedure, Procedure, Registration } from "./protocol/procedure.ts";
export { BLOCK_PEEK_MAX } from "./protocol/types.ts";
export type {
  Domain,
  HostInterface,
  Network,
  NodeDevice,
  Nwfilter,
  Secret,
  StoragePool,
  StorageVol,
  TypedParam,
} from "./protocol/types.ts";

export { ErrorCode } from "./names/error-codes.ts";
export type { ErrorCodeName } from "./names/error-codes.ts";
export { AgentReason, AgentState, AgentTimeout } from "./names/agent.ts";
export { nameOf } from "./names/enumeration.ts";
export type { Enumeration, NameOf } from "./names/enumeration.ts";
export * from "./names/flags.ts";
export { NetworkEvent, NodeDeviceEvent, SecretEvent, StoragePoolEvent } from "./names/host-events.ts";
export { DiskErrorCode, IOErrorAction } from "./names/io-error.ts";
export { BlockJobStatus, BlockJobType, JobOperation, JobType, decodeJobOperation } from "./names/jobs.ts";
export { LifecycleAction, LifecycleTrigger } from "./names/lifecycle-action.ts";
export { decodeLifecycle } from "./names/lifecycle.ts";
export type { LifecycleEvent, LifecycleEventName } from "./names/lifecycle.ts";
export { MetadataType } from "./names/metadata.ts";
export type { MetadataKind } from "./names/metadata.ts";
export { SecretUsage } from "./names/secret.ts";
export { StoragePoolState, StorageVolType } from "./names/storage.ts";
export { decodeState } from "./names/states.ts";
export type { ReasonName, StateAndReason, StateName } from "./names/states.ts";

export type { Codec, Infer } from "./xdr/codec.ts";
export * as xdr from "./xdr/index.ts";
