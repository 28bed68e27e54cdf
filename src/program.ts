import { hostname } from "node:os";
import { Session, type SessionEvent } from "libvirt";
import type { Logger } from "pino";
import { domainReference } from "../controller/domain-reference.ts";
import type { NoticeReason } from "../controller/notice.ts";
import { alwaysHeld } from "../controller/ports.ts";
import { Reconciler } from "../controller/reconcile.ts";
import { logApiFailure } from "./api-failure.ts";
import { systemClock } from "./clock.ts";
import { Coalescer } from "./coalescer.ts";
import { LibvirtHypervisor, type HypervisorChange } from "./hypervisor/hypervisor.ts";
import { createJournal } from "./journal.ts";
import { KubernetesClient } from "./kubernetes/client.ts";
import { clusterUid } from "./kubernetes/cluster.ts";
import { EventRecorder } from "./kubernetes/events.ts";
import { WorkQueue, type Priority } from "./kubernetes/work-queue.ts";
import { keyOf, namespaceOf, parseKey, type ObjectMeta } from "./kubernetes/resource.ts";
import type { ProgramOptions } from "./options.ts";
import { Problems } from "./problems.ts";
import { passed } from "./steps.ts";
import { ApiVirtualMachines } from "./virtual-machines.ts";

/** How long the end of the program waits for what is still being written. */
const farewellMs = 5000;

/**
 * How long the end waits for the passes that are under way: one may wait for a call that hangs, and Kubernetes ends a
 * program by force after half a minute. What such a pass leaves undone stands on its domain.
 */
const lastPassesMs = 15_000;

/**
 * How many resources are worked on at once of which nothing has begun yet. libvirt answers eight calls at a time: with
 * many more of them, what is due would wait behind their calls; with fewer, they would wait for a few that hang.
 */
const mostNormal = 12;

/**
 * A pool that is refreshed tells of several changes, a device that comes and goes of many, and each restart that waits
 * for the host makes tens of calls: what has changed is looked at once in this time.
 */
const hostChangesMs = 2000;

/**
 * How often it is asked which machines are to be compared with their next start, and how many are taken at once: a fleet
 * of thousands is spread over the minutes for which a comparison holds.
 */
const comparingMs = 5000;
const mostCompared = 320;

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
    onDrop: ({ reason, regarding }, error) => logDrop(log, regarding.metadata, reason, error),
  });
  const queue = new WorkQueue({
    mostNormal,
    flowOf: namespaceOf,
    onError: (key, error) => log.error({ ...parseKey(key), err: error }, "a pass failed; trying again"),
  });
  const virtualMachines = new ApiVirtualMachines({
    client,
    namespace: options.namespace,
    allowDefinitions: options.allowDefinitions,
    queue,
    events,
    log,
    onClaim: (virtualMachine) => {
      const domain = hypervisor.find(domainReference(virtualMachine));
      if (domain !== undefined) enqueue(queue, virtualMachines, domain, "Normal");
    },
  });
  const hostChanges = new Coalescer(() => {
    for (const key of reconciler?.hostChanged() ?? []) queue.add(key);
  }, hostChangesMs);
  const problems = new Problems();
  const libvirtTried = Promise.withResolvers<void>();
  const hypervisor = new LibvirtHypervisor(
    (listener) =>
      new Session(options.connect, {
        listener: (event) => {
          passed(`event/${event.type === "Lifecycle" ? event.event : event.type}`);
          listener(event);
          logSession(log, problems, event);
          libvirtTried.resolve();
        },
      }),
    (changed) => {
      if (changed === "Host") {
        hostChanges.ask();
        return;
      }
      // A guest that has gone off is down until its start: it does not wait behind requests that are about to begin.
      enqueue(queue, virtualMachines, changed, changed === "All" ? "Normal" : "High");
      if (reconciler === undefined) return;
      for (const key of reconciler.orphans()) queue.add(key, "High");
      if (changed === "All") void adoptOrphans({ hypervisor, virtualMachines, reconciler, queue, log });
    },
  );
  let reconciler: Reconciler | undefined;

  log.info({ connect: options.connect, kubernetes: client.server, namespace: options.namespace }, "starting");
  signal.addEventListener("abort", () => reconciler?.end(), { once: true });
  hypervisor.start();
  const watching = virtualMachines.run(signal);
  try {
    // Before libvirt and the definitions have been tried, statuses would say that they cannot be had, and then that they
    // can.
    await Promise.all([
      virtualMachines.synced(signal),
      unlessAborted(Promise.all([virtualMachines.definitionsTried(), libvirtTried.promise]), signal),
    ]);
    const cluster = await clusterUid(client, {
      signal,
      onError: (error, ms) => logClusterError(log, problems, error, ms),
    });
    const journal = createJournal(log);
    const ready = new Reconciler({
      virtualMachines,
      hypervisor,
      lease: alwaysHeld,
      clock: systemClock,
      journal,
      cluster,
    });
    reconciler = ready;
    void adoptOrphans({ hypervisor, virtualMachines, reconciler, queue, log });
    const comparing = setInterval(() => {
      for (const key of ready.outdated().take(mostCompared)) queue.add(key);
    }, comparingMs);
    signal.addEventListener("abort", () => clearInterval(comparing), { once: true });
    passed("ready");
    log.info({ virtualMachines: [...virtualMachines.keys()].length, cluster }, "ready");
    await Promise.race([
      queue.run(options.workers, (key) => reconcileOnce(key, ready, queue), signal),
      longAfter(signal, lastPassesMs),
    ]);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  log.info({ attempts: reconciler?.attempts ?? 0 }, "ending; restarts under way are kept for the next run");
  await Promise.race([
    virtualMachines.drained(),
    new Promise((resolve) => setTimeout(resolve, farewellMs).unref()),
  ]);
  await events.close(farewellMs);
  await Promise.all([hypervisor.close(), watching]);
  hostChanges.close();
  await client.close();
  log.info("ended");
}

/** Resolves so long after the signal has aborted. */
async function longAfter(signal: AbortSignal, ms: number): Promise<void> {
  await new Promise((resolve) =>
    signal.addEventListener("abort", () => setTimeout(resolve, ms).unref(), { once: true }),
  );
}

/** Rejects with the signal's reason when it comes first. */
async function unlessAborted(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const aborted = Promise.withResolvers<never>();
  signal.addEventListener("abort", () => aborted.reject(signal.reason), { once: true });
  await Promise.race([promise, aborted.promise]);
}

async function reconcileOnce(key: string, reconciler: Reconciler, queue: WorkQueue): Promise<void> {
  passed("pass/begin");
  const again = await reconciler.reconcile(key);
  passed("pass/end");
  if (again !== undefined) queue.addAfter(key, again.atMs - systemClock.now().monotonicMs);
}

/** Restarts that resources which are gone have left on domains that no other resource names. */
async function adoptOrphans({
  hypervisor,
  virtualMachines,
  reconciler,
  queue,
  log,
}: {
  hypervisor: LibvirtHypervisor;
  virtualMachines: ApiVirtualMachines;
  reconciler: Reconciler;
  queue: WorkQueue;
  log: Logger;
}): Promise<void> {
  for (const domain of hypervisor.domains()) {
    if (virtualMachines.naming(domain).length > 0) continue;
    try {
      // There may be thousands, and nothing waits for them.
      const key = await reconciler.adoptOrphan(domain);
      if (key !== undefined) queue.add(key);
    } catch (error) {
      // What somebody has written on one domain must not end what is done for all others.
      const what = "what a restart may have left on a domain without a resource could not be looked at";
      log.error({ domain: domain.name, err: error }, what);
    }
  }
}

function logClusterError(log: Logger, problems: Problems, error: unknown, retryInMs: number): void {
  const why = error instanceof Error ? error.message : String(error);
  log[problems.meet("kube-system", why) ? "error" : "debug"](
    `the namespace kube-system, whose UID names this cluster, cannot be read (see deploy/rbac.yaml): ${why}; ` +
      `trying again in ${(retryInMs / 1000).toFixed(1)} s`,
  );
}

function enqueue(
  queue: WorkQueue,
  virtualMachines: ApiVirtualMachines,
  changed: Exclude<HypervisorChange, "Host">,
  priority: Priority,
): void {
  const keys = changed === "All" ? virtualMachines.keys() : virtualMachines.naming(changed).map(keyOf);
  for (const key of keys) queue.add(key, priority);
}

function logDrop(log: Logger, { namespace, name }: ObjectMeta, reason: string, error: unknown): void {
  const what = `the Event ${reason} was dropped`;
  if (error === undefined) log.warn({ namespace, name }, what);
  else logApiFailure(log.warn.bind(log), { what, error, about: { namespace, name } });
}

function logSession(log: Logger, problems: Problems, event: SessionEvent): void {
  switch (event.type) {
    case "Connected":
      problems.end("libvirt");
      log.info({ ...event.hypervisor, domains: event.domains?.length }, "connected to libvirt");
      if (event.domains === undefined)
        log.warn("libvirt does not list its domains, as one of them hangs: they are asked for one by one");
      return;
    case "Listed":
      log.info({ domains: event.domains.length }, "libvirt lists its domains again");
      return;
    case "Held":
      log.error(event.error.message);
      return;
    case "Released":
      log.info("libvirt answers again");
      return;
    case "Disconnected":
      // A daemon that is away is tried again for hours.
      log[problems.meet("libvirt", event.error.message) ? "error" : "debug"](
        `${event.error.message}; trying again in ${(event.retryInMs / 1000).toFixed(1)} s`,
      );
      return;
    case "Lifecycle":
      log.debug({ domain: event.domain.name, event: event.event, detail: event.detail }, "libvirt event");
      return;
    case "HostChange":
      log.debug({ object: event.object, name: event.name, event: event.event }, "libvirt event");
      return;
    default:
      log.debug({ domain: event.domain.name, event: event.type }, "libvirt event");
  }
}
