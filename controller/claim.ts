import type { VirtualMachine } from "../crds/virtual-machine.ts";

/**
 * The resource that a domain belongs to where several name it, unless it is this one: the older one, by creation, and
 * where that is the same second, by UID.
 */
export function elderOf(
  virtualMachine: VirtualMachine,
  rivals: readonly VirtualMachine[],
): VirtualMachine | undefined {
  return rivals.find((rival) => isOlder(rival, virtualMachine));
}

function isOlder({ metadata: one }: VirtualMachine, { metadata: other }: VirtualMachine): boolean {
  if (one.creationTimestamp !== other.creationTimestamp)
    return one.creationTimestamp < other.creationTimestamp;
  return one.uid < other.uid;
}
