import {
  CallHeldError,
  CallTimeoutError,
  ConnectionError,
  LibvirtError,
  type ConnectionErrorKind,
  type ErrorCodeName,
} from "libvirt";
import type { Missing, Outcome, RefusalCause, Unreachable } from "../../controller/ports.ts";
import { AgentSilentError } from "./agent.ts";
import { DefinitionError } from "./definition/definition-error.ts";
import { DomainHungError } from "./domain-turns.ts";
import { DomainXmlError } from "./domain-xml.ts";
import { MomentaryDomainError } from "./momentary-domain.ts";

/** What libvirt cannot tell is asked for again after this time: no event tells that it can. */
const retryMs = 10_000;

/**
 * A call whose connection was lost is made again after this time. The session tells only when its main one is back; one
 * of those that are opened on demand may have been lost alone.
 */
const lostConnectionRetryMs = 1000;

/** A daemon that answers nothing is soon known to be away, or answers again: then it is seen whether the domain hangs. */
const silentRetryMs = 1000;

/** What the codes of libvirt's refusals mean to the controller. */
const refusalCauses: Readonly<Partial<Record<ErrorCodeName, RefusalCause>>> = {
  ACCESS_DENIED: "Denied",
  OPERATION_DENIED: "Denied",
  OPERATION_TIMEOUT: "Busy",
  INTERNAL_ERROR: "Failed",
  SYSTEM_ERROR: "Failed",
};

/** What this program refuses by itself. */
const ownRefusals = [AgentSilentError, DefinitionError, DomainXmlError, MomentaryDomainError];

/** How the connection to a daemon ends that hangs, and how the next one fails. */
const silences: ReadonlySet<ConnectionErrorKind> = new Set(["KeepaliveTimeout", "OpenTimeout"]);

/** The outcome of libvirt calls that were made for one effect. */
export async function outcomeOf(calls: () => Promise<unknown>): Promise<Outcome> {
  try {
    await calls();
    return { kind: "Done" };
  } catch (error) {
    if (error instanceof LibvirtError)
      return { kind: "Refused", message: error.message, cause: refusalCauses[error.code] };
    if (ownRefusals.some((refusal) => error instanceof refusal))
      return { kind: "Refused", message: (error as Error).message };
    // Another call holds the domain, as a process does that does not answer any more.
    if (error instanceof DomainHungError && !error.sent)
      return { kind: "Refused", message: error.message, cause: "Busy" };
    if (isUnanswered(error)) {
      return { kind: error.sent ? "Unanswered" : "NotSent", message: error.message };
    }
    throw error;
  }
}

function isUnanswered(error: unknown): error is { sent: boolean; message: string } {
  return [CallTimeoutError, DomainHungError, CallHeldError, ConnectionError].some(
    (unanswered) => error instanceof unanswered,
  );
}

/**
 * What a failed look at a domain says about it. That libvirt does not answer about one, or answers what cannot be used,
 * is that domain's and not the hypervisor's.
 */
export function absenceOf(
  error: unknown,
  { uri, name }: { uri: string; name?: string | undefined },
): Missing | Unreachable {
  const domain = name === undefined ? "the domain" : `the domain ${name}`;
  if (error instanceof LibvirtError) {
    if (error.code === "NO_DOMAIN") return { kind: "Missing" };
    return error.code === "OPERATION_TIMEOUT"
      ? unresponsive(domain, error.message, retryMs)
      : unreadable(domain, `libvirt cannot tell: ${error.message}`);
  }
  if (error instanceof DomainHungError)
    return error.isDaemonSilent
      ? hypervisorUnreachable(silenceOf(uri), silentRetryMs)
      : // Its answer is told.
        unresponsive(domain, error.message, undefined);
  if (error instanceof CallHeldError) return hypervisorUnreachable(error.message, retryMs);
  if (error instanceof CallTimeoutError) {
    const { sent, procedure, timeoutMs, message } = error;
    if (sent)
      return unresponsive(
        domain,
        `libvirt did not answer ${procedure} within ${timeoutMs / 1000} s`,
        retryMs,
      );
    return hypervisorUnreachable(message, retryMs);
  }
  if (error instanceof DomainXmlError || error instanceof MomentaryDomainError)
    return unreadable(domain, error.message);
  if (error instanceof ConnectionError) {
    // The connection goes on after a reply that could not be decoded.
    return error.kind === "Protocol" && error.sent
      ? unreadable(domain, error.message)
      : hypervisorUnreachable(lossOf(error, uri), lostConnectionRetryMs);
  }
  throw error;
}

/** Why the connection to the hypervisor of this URI is lost, whichever call has met that. */
export function lossOf(error: ConnectionError, uri: string): string {
  const { kind, message } = error.cause instanceof ConnectionError ? error.cause : error;
  return silences.has(kind) ? silenceOf(uri) : message;
}

/** The same words for as long as it lasts, whichever way it shows: by a call, the connection, or the next one. */
function silenceOf(uri: string): string {
  return `libvirt at ${uri} does not answer: is it stuck?`;
}

function hypervisorUnreachable(message: string, retryInMs: number): Unreachable {
  return { kind: "Unreachable", reason: "HypervisorUnreachable", message, retryInMs };
}

function unresponsive(domain: string, why: string, retryInMs: number | undefined): Unreachable {
  const message = `libvirt answers, but not about ${domain}: its QEMU process, a job on it or its storage may hang (${why})`;
  return { kind: "Unreachable", reason: "DomainUnresponsive", message, retryInMs };
}

function unreadable(domain: string, why: string): Unreachable {
  const message = `${domain} cannot be looked at: ${why}`;
  return { kind: "Unreachable", reason: "DomainUnreadable", message, retryInMs: retryMs };
}
