import {
  AgentTimeout,
  CallTimeoutError,
  ConnectionError,
  LibvirtError,
  procedures,
  type Domain as LibvirtDomain,
} from "libvirt";
import { z } from "zod";
import type { Caller } from "./caller.ts";
import { DomainHungError } from "./domain-turns.ts";

/** libvirt gives an agent that does not answer 5 s; then it says so itself. */
const agentTimeoutMs = 6000;

/** The kernel of a Linux guest makes a new one at each boot. */
const bootIdFile = "/proc/sys/kernel/random/boot_id";

/** A UUID and a line's end. */
const bootIdLength = 37;

/** No answer to these questions is longer; a longer one is not looked at. */
const longestAnswer = 1000;

/** An agent does not answer, so that it was not asked for what it was to do. */
export class AgentSilentError extends Error {}

const opened = z.object({ return: z.int() });
const read = z.object({ return: z.object({ "buf-b64": z.base64().max(100) }) });
const bootId = z.uuid();

/**
 * Whether a domain's guest agent answers. Asking for the time is the cheapest question that leaves no trace on the
 * domain.
 */
export async function agentAnswers(caller: Caller, dom: LibvirtDomain): Promise<boolean> {
  try {
    await caller.call(
      procedures.domainGetTime,
      { dom, flags: 0 },
      { timeoutMs: agentTimeoutMs, waitsFor: "Agent" },
    );
    return true;
  } catch (error) {
    if (isSilence(error)) return false;
    throw error;
  }
}

/**
 * The guest's boot ID, as its agent reads it; undefined where the agent does not answer, is not allowed to read it or
 * answers anything else. The words of a guest: they are bounded, and no proof of anything but a change.
 */
export async function agentBootId(caller: Caller, dom: LibvirtDomain): Promise<string | undefined> {
  const ask = async <T>(command: string, args: object, answer: z.ZodType<T>): Promise<T | undefined> => {
    const cmd = JSON.stringify({ execute: command, arguments: args });
    const options = { timeoutMs: agentTimeoutMs, waitsFor: "Agent" } as const;
    const timeout = AgentTimeout.Default;
    const { result } = await caller.call(
      procedures.qemuDomainAgentCommand,
      { dom, cmd, timeout, flags: 0 },
      options,
    );
    return result === undefined || result.length > longestAnswer
      ? undefined
      : answer.safeParse(parse(result)).data;
  };
  try {
    const handle = (await ask("guest-file-open", { path: bootIdFile, mode: "r" }, opened))?.return;
    if (handle === undefined) return undefined;
    const content = await ask("guest-file-read", { handle, count: bootIdLength }, read);
    await ask("guest-file-close", { handle }, z.unknown());
    const text = Buffer.from(content?.return["buf-b64"] ?? "", "base64").toString("ascii");
    return bootId.safeParse(text.trim()).data;
  } catch (error) {
    if (isSilence(error)) return undefined;
    throw error;
  }
}

/** libvirt, the call's deadline or the lost connection to libvirt says that there is no answer, or the agent refuses. */
function isSilence(error: unknown): boolean {
  return silences.some((silence) => error instanceof silence);
}

const silences = [LibvirtError, CallTimeoutError, DomainHungError, ConnectionError];

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
