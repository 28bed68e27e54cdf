import { ErrorCode, LibvirtError, type ErrorCodeName } from "libvirt";
import type { Caller } from "../../../../src/hypervisor/caller.ts";

/** How a procedure is answered, by libvirt's name of it; what it throws is the refusal. */
export type Answers = Readonly<Record<string, (args: never) => unknown>>;

/** What libvirt says when it refuses. */
export function refusal(code: ErrorCodeName, errno?: number): LibvirtError {
  const number = code === "UNKNOWN" ? 9999 : ErrorCode[code];
  return new LibvirtError("SCRIPTED", number, 0, `libvirt says ${code}`, errno);
}

/** A host whose answers a test states. It has no driver for what is not among them, and tells what it was asked. */
export function scriptedHost(answers: Answers): { caller: Caller; asked: string[] } {
  const asked: string[] = [];
  const call: Caller["call"] = async (procedure, args) => {
    asked.push(procedure.name);
    const answer = answers[procedure.name];
    if (answer === undefined) throw refusal("NO_SUPPORT");
    return answer(args as never) as never;
  };
  return { caller: { call }, asked };
}
