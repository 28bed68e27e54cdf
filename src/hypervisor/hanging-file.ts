import { CallTimeoutError, type Procedure } from "libvirt";
import type { Caller } from "./caller.ts";

/** How long a file is waited for: as long as a call without a deadline of its own. */
export const fileTimeoutMs = 30_000;

/** Longer than any outage of storage that somebody sits out. */
const abandonedAfterMs = 24 * 3600 * 1000;

/** libvirt waits for a file that does not answer, and holds the domain that has it until it does. */
export class FileHangsError extends CallTimeoutError {
  /** Resolves when libvirt has answered after all, or the connection has ended. */
  readonly answered: Promise<void>;

  constructor(procedure: string, answered: Promise<void>) {
    super(procedure, fileTimeoutMs, true);
    this.answered = answered;
  }
}

/** The machines of a session that have a look at a file which is not answered. */
const hanging = new WeakMap<Caller, Map<string, FileHangsError>>();

/**
 * Rejects as a look at the machine's files has last time, while that one is not answered: another one would only take
 * one more place of the few that all machines share.
 */
export function checkNoneHangs(caller: Caller, machine: string): void {
  const error = hanging.get(caller)?.get(machine);
  if (error !== undefined) throw error;
}

/** How many machines may have a file that hangs before no others' files are looked at: their looks share few places. */
const mostHanging = 3;

/** Whether so many files hang already that a look at further ones could leave none of those places. */
export function areTooManyHanging(caller: Caller): boolean {
  return (hanging.get(caller)?.size ?? 0) >= mostHanging;
}

/** Makes a call that waits for a file of a machine. Rejects with a FileHangsError where no answer comes in time. */
export async function callPatiently<A, R>(
  caller: Caller,
  machine: string,
  procedure: Procedure<A, R>,
  args: NoInfer<A>,
): Promise<R> {
  const call = caller.call(procedure, args, { waitsFor: "File", timeoutMs: abandonedAfterMs });
  const deadline = Promise.withResolvers<"Late">();
  const timer = setTimeout(() => deadline.resolve("Late"), fileTimeoutMs);
  try {
    const first = await Promise.race([call.then((result) => ({ result })), deadline.promise]);
    if (first !== "Late") return first.result;
  } finally {
    clearTimeout(timer);
  }
  throw note(caller, machine, procedure.name, call);
}

function note(caller: Caller, machine: string, procedure: string, call: Promise<unknown>): FileHangsError {
  const ofSession = hanging.get(caller) ?? new Map<string, FileHangsError>();
  hanging.set(caller, ofSession);
  const settled = async () => {
    await call.catch(() => undefined);
    ofSession.delete(machine);
  };
  const error = new FileHangsError(procedure, settled());
  ofSession.set(machine, error);
  return error;
}
