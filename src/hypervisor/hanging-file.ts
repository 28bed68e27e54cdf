import { CallTimeoutError, type Procedure } from "libvirt";
import type { Caller } from "./caller.ts";

/** How long a file is waited for: as long as a call without a deadline of its own. */
export const fileTimeoutMs = 30_000;

/** libvirt waits for a file that does not answer, and holds the domain that has it until it does. */
export class FileHangsError extends CallTimeoutError {}

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
  try {
    return await caller.call(procedure, args, { waitsFor: "File", timeoutMs: fileTimeoutMs });
  } catch (error) {
    throw error instanceof CallTimeoutError && error.sent ? note(caller, machine, error) : error;
  }
}

function note(caller: Caller, machine: string, { procedure, aftermath }: CallTimeoutError): FileHangsError {
  const ofSession = hanging.get(caller) ?? new Map<string, FileHangsError>();
  hanging.set(caller, ofSession);
  const error = new FileHangsError(procedure, fileTimeoutMs, aftermath);
  ofSession.set(machine, error);
  void aftermath?.then(() => ofSession.delete(machine));
  return error;
}
