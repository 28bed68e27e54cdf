import type { DomainStatus } from "../crds/virtual-machine.ts";
import type { Glance, Look } from "./ports.ts";

/**
 * The domain with the reason for which it was seen to be off: a libvirtd that is restarted forgets it, and whether a
 * guest shut down or was migrated away makes all the difference. A saved image is looked for each time instead.
 */
export function withKnownReason<T extends Glance | Look>(seen: T, before: DomainStatus | undefined): T {
  if (seen.kind !== "Present" || before === undefined || before.reason === "Saved") return seen;
  const { domain } = seen;
  const isForgotten = domain.id === undefined && domain.reason === "Unknown";
  const wasOff = before.id === undefined && before.state === domain.state && before.uuid === domain.uuid;
  return isForgotten && wasOff ? { ...seen, domain: { ...domain, reason: before.reason } } : seen;
}
