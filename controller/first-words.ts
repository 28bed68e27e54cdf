import type { VirtualMachineStatus } from "../crds/virtual-machine.ts";
import type { Glance, Look } from "./ports.ts";

/**
 * A domain that does not answer, in the words in which that was told first: they differ from try to try, by the call that
 * had no answer, and nothing has changed.
 */
export function withFirstWords<T extends Glance | Look>(seen: T, { conditions }: VirtualMachineStatus): T {
  if (seen.kind !== "Unreachable" || seen.reason !== "DomainUnresponsive") return seen;
  const bound = conditions?.find(({ type }) => type === "Bound");
  return bound?.reason === seen.reason ? { ...seen, message: bound.message } : seen;
}
