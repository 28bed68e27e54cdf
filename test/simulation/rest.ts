import {
  annotations,
  longestRestartToken,
  type VirtualMachine,
  type VirtualMachineStatus,
} from "../../crds/virtual-machine.ts";
import type { ModelApi } from "./api.ts";
import type { Violation } from "./ledger.ts";
import type { World } from "./world.ts";

/** What must be true of a resource once nothing happens any more: what it waits for is there, and it tells what is. */
export function* unrest(world: World, wasTouched: (attempt: string) => boolean): Iterable<Violation> {
  const { stored } = world.api;
  if (stored === undefined) return;
  yield* waitsForNothing(world, stored, wasTouched);
  yield* tokenIsOpen(stored);
  yield* tellsAnotherDomain(world, stored);
  for (const status of world.api.writes) yield* conditionsDisagree(status);
}

function* waitsForNothing(
  { hypervisor, api, timeline }: World,
  { spec, status }: VirtualMachine,
  wasTouched: (attempt: string) => boolean,
): Iterable<Violation> {
  if (status.attempt === undefined) return;
  const { id, request } = status.attempt;
  const { state } = hypervisor.domain;
  // A libvirtd that was restarted knows less of a domain that is off than the status does.
  const known = hypervisor.domain.reason === "Unknown" ? status.domain?.reason : undefined;
  const reason = known ?? hypervisor.domain.reason;
  const invariant = "a restart that is under way waits for something";
  const isUnusable = hasUnusableDefinition(api);
  if (status.findings !== undefined && !isUnusable)
    yield { invariant: "findings are told while a restart waits for them", how: "nothing lacks any more" };
  const isHeld = hypervisor.exists && (state === "Paused" || reason === "Saved" || reason === "Migrated");
  if (hypervisor.nextMark?.attempt === id) {
    const isLeftRunning = isUnusable && hypervisor.running !== undefined;
    if (!isHeld && !isLeftRunning && !spec.suspend && api.rivals.length === 0)
      yield { invariant, how: `it was begun, and the domain is ${state}, ${reason}` };
    return;
  }
  const isGone =
    !hypervisor.exists && status.attempt.stage !== "Queued" && status.attempt.stage !== "Preparing";
  if (isGone) yield { invariant, how: "it was begun, and the domain is gone" };
  const waits = isUnusable || isHeld || !hypervisor.exists || spec.suspend || api.rivals.length > 0;
  if (!waits) yield { invariant, how: `nothing holds it, and the domain is ${state}, ${reason}` };
  const { deadlineSeconds } = spec.restartPolicy;
  const deadlineMs = Date.parse(request.requestedAt) + (deadlineSeconds ?? Number.POSITIVE_INFINITY) * 1000;
  if (timeline.now().epochMs > deadlineMs && !timeline.wasSet && !wasTouched(id))
    yield { invariant: "a request that waits too long fails", how: `it waits since ${request.requestedAt}` };
}

/** A definition that is not there, or cannot be used, keeps a restart from beginning: somebody has to correct it. */
export function hasUnusableDefinition(api: ModelApi): boolean {
  const definition = api.stored && api.definitionOf(api.stored);
  return definition?.kind === "Unavailable" || (definition?.kind === "Given" && definition.xml === "");
}

function* tokenIsOpen({ metadata, status }: VirtualMachine): Iterable<Violation> {
  const token = metadata.annotations[annotations.restart] ?? "";
  if (status.attempt !== undefined || token === "") return;
  if (token.slice(0, longestRestartToken) !== status.observedRestartToken)
    yield {
      invariant: "every request ends in a recorded result",
      how: `token ${token} is requested, ${status.observedRestartToken} observed`,
    };
}

function* tellsAnotherDomain({ hypervisor }: World, { status }: VirtualMachine): Iterable<Violation> {
  const is = hypervisor.exists ? hypervisor.domain : undefined;
  const told = status.domain;
  const isForgotten = is?.id === undefined && is?.reason === "Unknown";
  if (is?.id !== told?.id || is?.state !== told?.state || (is?.reason !== told?.reason && !isForgotten))
    yield {
      invariant: "the status tells the domain as it is",
      how: `${told?.state}, ${told?.reason} instead of ${is?.state}, ${is?.reason}`,
    };
}

/** As kstatus reads them. */
function* conditionsDisagree(status: VirtualMachineStatus): Iterable<Violation> {
  const valueOf = (name: string) => status.conditions?.find(({ type }) => type === name)?.status;
  const isBusy = valueOf("Reconciling") === "True";
  const isStalled = valueOf("Stalled") === "True";
  const invariant = "the conditions agree with each other and with the attempt";
  const isReady = valueOf("Ready");
  if (isReady === undefined || (isReady === "True") === (isBusy || isStalled) || (isBusy && isStalled))
    yield { invariant, how: `Ready ${isReady}, Reconciling ${isBusy}, Stalled ${isStalled}` };
  // Before it is marked, it may be dropped by the very next pass.
  const isMarked = status.attempt !== undefined && !["Queued", "Preparing"].includes(status.attempt.stage);
  if (isMarked && isReady === "True") yield { invariant, how: "Ready with a restart under way" };
}
