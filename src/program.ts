import { hostname } from "node:os";
import { Session, type SessionEvent } from "libvirt";
import type { Logger } from "pino";
import { domainReference } from "../controller/domain-reference.ts";
import type { NoticeReason } from "../controller/notice.ts";
import { Reconciler } from "../controller/reconcile.ts";
import { systemClock } from "./clock.ts";
import { LibvirtHypervisor, type ChangedDomain } from "./hypervisor/hypervisor.ts";
import { createJournal } from "./journal.ts";
import { KubernetesClient } from "./kubernetes/client.ts";
import { EventRecorder } from "./kubernetes/events.ts";
import { WorkQueue } from "./kubernetes/work-queue.ts";
import { keyOf, parseKey } from "./kubernetes/resource.ts";
import type { ProgramOptions } from "./options.ts";
import { ApiVirtualMachines } from "./virtual-machines.ts";

/** How long the end of the program waits for what is still being written. */
const farewellMs = 5000;

/**
 * Runs the controller until the signal aborts; then finishes the passes that are under way. A restart in
 * flight is kept: the domain carries its marks, and the next run goes on with it.
 *
 * Neither the API server nor libvirt has to be there: both are tried again with backoff. Rejects only where
 * the credentials for Kubernetes cannot be used.
 */
export async function runProgram(options: ProgramOptions, log: Logger, signal: AbortSignal): Promise<void> {
  const client = await KubernetesClient.load({ path: options.kubeconfig, context: options.context });
  const events = new EventRecorder<NoticeReason>({
    client,
    reportingController: "warmboot.dev/controller",
    reportingInstance: hostname(),
    onDrop: ({ reason, regarding }, error) =>
      log.warn({ name: regarding.metadata.name, reason, err: error }, "an Event was dropped"),
  });
  const queue = new WorkQueue({
    onError: (key, error) => log.error({ ...parseKey(key), err: error }, "a pass failed; it is tried again"),
  });
  const virtualMachines = new ApiVirtualMachines({
    client,
    namespace: options.namespace,
    queue,
    events,
    log,
    onClaim: (virtualMachine) => {
      const domain = hypervisor.find(domainReference(virtualMachine));
      if (domain !== undefined) enqueue(queue, virtualMachines, domain);
    },
  });
  const libvirtTried = Promise.withResolvers<void>();
  const hypervisor = new LibvirtHypervisor(
    (listener) =>
      new Session(options.connect, {
        listener: (event) => {
          listener(event);
          logSession(log, event);
          libvirtTried.resolve();
        },
      }),
    (changed) => {
      enqueue(queue, virtualMachines, changed);
      for (const key of reconciler.orphans()) queue.add(key);
    },
  );
  const reconciler = new Reconciler({
    virtualMachines,
    hypervisor,
    // One process, without leader election.
    lease: {
      isHeld: () => true,
      predecessorGoneAtMs: Number.NEGATIVE_INFINITY,
      goneAtMs: Number.POSITIVE_INFINITY,
    },
    clock: systemClock,
    journal: createJournal(log),
  });

  log.info({ connect: options.connect, kubernetes: client.server, namespace: options.namespace }, "starting");
  signal.addEventListener("abort", () => reconciler.end(), { once: true });
  hypervisor.start();
  const watching = virtualMachines.run(signal);
  try {
    // Before libvirt has been tried, every status would say that it cannot be reached, and then that it can.
    await Promise.all([virtualMachines.synced(signal), unlessAborted(libvirtTried.promise, signal)]);
    log.info({ virtualMachines: [...virtualMachines.keys()].length }, "ready");
    await queue.run(options.workers, (key) => reconcileOnce(key, reconciler, queue), signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  log.info({ attempts: reconciler.attempts }, "ending; restarts under way are kept for the next run");
  await Promise.race([
    virtualMachines.drained(),
    new Promise((resolve) => setTimeout(resolve, farewellMs).unref()),
  ]);
  await events.close(farewellMs);
  await Promise.all([hypervisor.close(), watching]);
  await client.close();
  log.info("ended");
}

/** Rejects with the signal's reason when it comes first. */
async function unlessAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<never>();
  signal.addEventListener("abort", () => aborted.reject(signal.reason), { once: true });
  await Promise.race([promise, aborted.promise]);
}

async function reconcileOnce(key: string, reconciler: Reconciler, queue: WorkQueue): Promise<void> {
  const again = await reconciler.reconcile(key);
  if (again !== undefined) queue.addAfter(key, again.atMs - systemClock.now().monotonicMs);
}

function enqueue(queue: WorkQueue, virtualMachines: ApiVirtualMachines, changed: ChangedDomain): void {
  const keys = changed === "All" ? virtualMachines.keys() : virtualMachines.naming(changed).map(keyOf);
  for (const key of keys) queue.add(key);
}

function logSession(log: Logger, event: SessionEvent): void {
  switch (event.type) {
    case "Connected":
      log.info({ ...event.hypervisor, domains: event.domains.length }, "connected to libvirt");
      return;
    case "Disconnected":
      log.error(`${event.error.message}; tried again in ${(event.retryInMs / 1000).toFixed(1)} s`);
      return;
    case "Lifecycle":
      log.debug({ domain: event.domain.name, event: event.event, detail: event.detail }, "libvirt event");
      return;
    default:
      log.debug({ domain: event.domain.name, event: event.type }, "libvirt event");
  }
}
