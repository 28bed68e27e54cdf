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
  Disconnected,
  DomainEvent,
  HypervisorInfo,
  SessionEvent,
} from "./session/session-event.ts";
export type { DomainState } from "./session/snapshot.ts";
export type { ReconnectOptions } from "./session/backoff.ts";

export { AddressError, CallTimeoutError, ConnectionError, LibvirtError, ProtocolError } from "./errors.ts";
export type { ConnectionErrorKind } from "./errors.ts";

export { procedures } from "./protocol/procedures.ts";
export { events } from "./protocol/events.ts";
export type { EventPayloads } from "./protocol/events.ts";
export { defineEvent, defineProcedure, defineQemuProcedure } from "./protocol/procedure.ts";
export type { EventProcedure, Procedure } from "./protocol/procedure.ts";
export type { Domain, TypedParam } from "./protocol/types.ts";

export { ErrorCode } from "./names/error-codes.ts";
export type { ErrorCodeName } from "./names/error-codes.ts";
export * from "./names/flags.ts";
export { decodeState } from "./names/states.ts";
export type { ReasonName, StateAndReason, StateName } from "./names/states.ts";
export { decodeLifecycle } from "./names/lifecycle.ts";
export type {
  AgentReason,
  AgentState,
  IOErrorAction,
  LifecycleEvent,
  LifecycleEventName,
  MetadataKind,
} from "./names/lifecycle.ts";

export type { Codec, Infer } from "./xdr/codec.ts";
export * as xdr from "./xdr/index.ts";
