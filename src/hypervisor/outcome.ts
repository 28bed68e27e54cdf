import { CallTimeoutError, ConnectionError, LibvirtError, type ErrorCodeName } from "libvirt";
import type { Missing, Outcome, RefusalCause, Unreachable } from "../../controller/ports.ts";
import { AgentSilentError } from "./agent.ts";
import { DefinitionError } from "./definition/definition-error.ts";
import { DomainXmlError } from "./domain-xml.ts";
import { MomentaryDomainError } from "./momentary-domain.ts";

/** A domain that hangs is asked again after this time: no event tells that it has come back. */
const hungDomainRetryMs = 10_000;

/**
 * A call whose connection was lost is made again after this time. The session tells only when its main one is back; one
 * of those that are opened on demand may have been lost alone.
 */
const lostConnectionRetryMs = 1000;

/** What the codes of libvirt's refusals mean to the controller. */
const refusalCauses: Readonly<Partial<Record<ErrorCodeName, RefusalCause>>> = {
  ACCESS_DENIED: "Denied",
  OPERATION_DENIED: "Denied",
  OPERATION_TIMEOUT: "Busy",
};

/** What this program refuses by itself. */
const ownRefusals = [AgentSilentError, DefinitionError, DomainXmlError, MomentaryDomainError];

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
    if (error instanceof CallTimeoutError || error instanceof ConnectionError) {
      return { kind: error.sent ? "Unanswered" : "NotSent", message: error.message };
    }
    throw error;
  }
}

/**
 * What a failed look at a domain says about it. That libvirt does not answer about one, or answers what cannot be used,
 * is that domain's and not the hypervisor's.
 */
export function absenceOf(error: unknown, name?: string): Missing | Unreachable {
  const domain = name === undefined ? "the domain" : `the domain ${name}`;
  if (error instanceof LibvirtError) {
    if (error.code === "NO_DOMAIN") return { kind: "Missing" };
    return error.code === "OPERATION_TIMEOUT"
      ? unresponsive(domain, error.message)
      : unreadable(domain, `libvirt cannot tell: ${error.message}`);
  }
  if (error instanceof CallTimeoutError) {
    const { sent, procedure, timeoutMs, message } = error;
    if (sent) return unresponsive(domain, `libvirt did not answer ${procedure} within ${timeoutMs / 1000} s`);
    return hypervisorUnreachable(message, hungDomainRetryMs);
  }
  if (error instanceof DomainXmlError || error instanceof MomentaryDomainError)
    return unreadable(domain, error.message);
  if (error instanceof ConnectionError) {
    // The connection goes on after a reply that could not be decoded.
    return error.kind === "Protocol" && error.sent
      ? unreadable(domain, error.message)
      : hypervisorUnreachable(lossOf(error), lostConnectionRetryMs);
  }
  throw error;
}

/** Why the connection is lost, whichever call that has met. */
function lossOf({ cause, message }: ConnectionError): string {
  return cause instanceof ConnectionError ? cause.message : message;
}

function hypervisorUnreachable(message: string, retryInMs: number): Unreachable {
  return { kind: "Unreachable", reason: "HypervisorUnreachable", message, retryInMs };
}

function unresponsive(domain: string, why: string): Unreachable {
  const message = `libvirt answers, but not about ${domain}: its QEMU process, a job on it or its storage may hang (${why})`;
  return { kind: "Unreachable", reason: "DomainUnresponsive", message, retryInMs: hungDomainRetryMs };
}

function unreadable(domain: string, why: string): Unreachable {
  const message = `${domain} cannot be looked at: ${why}`;
  return { kind: "Unreachable", reason: "DomainUnreadable", message, retryInMs: hungDomainRetryMs };
}
