import { errorCodeName } from "./names/error-codes.ts";
import type { ErrorCodeName } from "./names/error-codes.ts";

/** libvirt carried the call to its end and answered that it failed. The connection is as good as before. */
export class LibvirtError extends Error {
  override readonly name = "LibvirtError";
  /** libvirt's name of the error without VIR_ERR_, such as "NO_DOMAIN"; "UNKNOWN" for a number added later. */
  readonly code: ErrorCodeName;
  /** libvirt's number of the error (virErrorNumber). */
  readonly number: number;
  /** The number of the part of libvirt that failed (virErrorDomain), such as 10 for QEMU. */
  readonly domain: number;
  /** The procedure that was called, such as "DOMAIN_GET_STATE". */
  readonly procedure: string;
  /** For SYSTEM_ERROR: the errno of the hypervisor's own system, such as 2 for a file that is not there. */
  readonly errno: number | undefined;

  constructor(
    procedure: string,
    number: number,
    domain: number,
    message: string | undefined,
    errno?: number,
  ) {
    super(message ?? `libvirt gave no message for error ${number} of ${procedure}`);
    this.code = errorCodeName(number);
    this.number = number;
    this.domain = domain;
    this.procedure = procedure;
    this.errno = this.code === "SYSTEM_ERROR" ? errno : undefined;
  }
}

/**
 * Why there is no connection:
 * - `NotFound`: no socket at that path. `Refused`: a socket that nobody listens on.
 * - `PermissionDenied`: the socket's mode or owner keeps this user out.
 * - `AuthenticationFailed`: the daemon asks for a login that failed or that this client does not offer.
 * - `OpenFailed`: the daemon answered, but could not open the driver of the URI; `cause` says why.
 * - `OpenTimeout`: the daemon did not answer while the connection was being opened.
 * - `KeepaliveTimeout`: the daemon fell silent. `Disconnected`: the daemon or the network ended the connection.
 * - `Protocol`: what came is not libvirt's protocol.
 * - `Closed`: this side closed the connection. `NotConnected`: there is none at the moment.
 */
export type ConnectionErrorKind =
  | "NotFound"
  | "Refused"
  | "PermissionDenied"
  | "AuthenticationFailed"
  | "OpenFailed"
  | "OpenTimeout"
  | "KeepaliveTimeout"
  | "Disconnected"
  | "Protocol"
  | "Closed"
  | "NotConnected";

/** There is no connection, or the one there was ended. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  readonly kind: ConnectionErrorKind;
  /** For a call: whether it was sent before the connection ended, so that libvirt may have carried it out. */
  readonly sent: boolean;

  constructor(kind: ConnectionErrorKind, message: string, options: { cause?: unknown; sent?: boolean } = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.kind = kind;
    this.sent = options.sent ?? false;
  }
}

/** What becomes of a call that nobody waits for any more: an answer came after all, or its connection has ended. */
export type Aftermath = "Answered" | "Lost";

/** A call was not answered within its deadline. The connection stays open. */
export class CallTimeoutError extends Error {
  override readonly name = "CallTimeoutError";
  /** The procedure that was called, such as "DOMAIN_GET_STATE". */
  readonly procedure: string;
  /** The deadline that passed, in milliseconds from the call. */
  readonly timeoutMs: number;
  /** False when the call still waited for its turn; true when libvirt has it and may yet carry it out. */
  readonly sent: boolean;
  /** Resolves when libvirt has answered after all, or the connection has ended; undefined for one that was not sent. */
  readonly aftermath: Promise<Aftermath> | undefined;

  constructor(procedure: string, timeoutMs: number, aftermath: Promise<Aftermath> | undefined) {
    super(
      aftermath === undefined
        ? `${procedure} was not sent within ${timeoutMs} ms, because earlier calls are unanswered`
        : `libvirt did not answer ${procedure} within ${timeoutMs} ms; it may still carry it out`,
    );
    this.procedure = procedure;
    this.timeoutMs = timeoutMs;
    this.sent = aftermath !== undefined;
    this.aftermath = aftermath;
  }
}

/** A call was not sent, because the daemon has answered none of so many earlier ones for long. */
export class CallHeldError extends Error {
  override readonly name = "CallHeldError";
  readonly sent = false;
  /** How many calls are unanswered. */
  readonly unanswered: number;

  constructor(unanswered: number) {
    super(
      `libvirt has not answered ${unanswered} calls about domains that hang, and is asked nothing more until it answers one`,
    );
    this.unanswered = unanswered;
  }
}

/** A URI that names no hypervisor that this client can reach. The message shows what a right one looks like. */
export class AddressError extends Error {
  override readonly name = "AddressError";
  /** The URI as it was given. */
  readonly uri: string;

  constructor(uri: string, problem: string, options?: ErrorOptions) {
    super(`"${uri}": ${problem}`, options);
    this.uri = uri;
  }
}

/** Bytes that are not what libvirt's protocol has in their place. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}
