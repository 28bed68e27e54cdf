import { CallHeldError, CallTimeoutError, ConnectionError, LibvirtError, type ErrorCodeName } from "libvirt";
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

/** What a failed look at a domain says about it. */
export function absenceOf(error: unknown): Missing | Unreachable {
  if (error instanceof LibvirtError) {
    if (error.code === "NO_DOMAIN") return { kind: "Missing" };
    return {
      kind: "Unreachable",
      message: `libvirt cannot tell: ${error.message}`,
      retryInMs: retryMs,
    };
  }
  // Its answer is told.
  if (error instanceof DomainHungError) return { kind: "Unreachable", message: error.message };
  if (
    error instanceof CallTimeoutError ||
    error instanceof CallHeldError ||
    error instanceof DomainXmlError ||
    error instanceof MomentaryDomainError
  ) {
    return { kind: "Unreachable", message: error.message, retryInMs: retryMs };
  }
  if (error instanceof ConnectionError) {
    return { kind: "Unreachable", message: error.message, retryInMs: lostConnectionRetryMs };
  }
  throw error;
}
