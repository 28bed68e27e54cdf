import { formatTimestamp } from "../../crds/timestamp.ts";
import { annotations } from "../../crds/virtual-machine.ts";
import type { Decision } from "../../controller/decision.ts";
import { repairKey, type Finding, type Repair } from "../../controller/finding.ts";
import type { Effect, Job } from "../../controller/ports.ts";
import type { Coverage } from "./coverage.ts";
import { operator, type Fault, type Guest } from "./domain.ts";
import { Ledger, type Violation } from "./ledger.ts";
import { Random } from "./random.ts";
import { World } from "./world.ts";

/** What a history came to. */
export interface HistoryReport {
  seed: number;
  violation: Violation | undefined;
  /** What happened, in order, each line with its virtual time; empty unless it was asked for. */
  lines: string[];
}

/** What is to be kept of a history. */
export interface HistoryOptions {
  /** Counts the decisions. */
  coverage?: Coverage;
  /** Whether the report tells every step: most of the time that a history takes would go into it. */
  trace?: boolean;
}

/** Things happen within this time; then the faults stop, and all must come to rest. */
const busyMs = 400_000;

/** How often the program looks for machines that were compared with their next start long ago. */
const compareEveryMs = 60_000;

/** Long enough for a disk that is back to be seen, to be plugged in, and to be seen to be plugged in. */
const comparedMs = 200_000;

/** Long enough for every timeout of a policy and for a late obedience; what is looked at again and again goes on. */
const restMs = 3_600_000;

type Happening = readonly [name: string, happen: (world: World, random: Random) => void];

const requests: readonly [Happening, ...Happening[]] = [
  [
    "restartGeneration is raised",
    (world) => world.api.apply({ restartGeneration: world.api.highestGeneration + 1 }),
  ],
  [
    "restartGeneration jumps",
    (world) => world.api.apply({ restartGeneration: world.api.highestGeneration + 3 }),
  ],
  [
    "restartGeneration is lowered",
    (world) => world.api.apply({ restartGeneration: Math.max(0, generation(world) - 1) }),
  ],
  [
    "the annotation gets a new value",
    (world) => world.api.annotate({ restart: `token-${world.timeline.now().epochMs}` }),
  ],
  [
    "a hard restart is requested",
    (world) => world.api.annotate({ restart: `hard-${world.timeline.now().epochMs}`, restartMode: "Hard" }),
  ],
  ["the mode annotation goes", (world) => world.api.annotate({ restartMode: undefined })],
  ["the annotation goes", (world) => world.api.annotate({ restart: undefined })],
  ["an old annotation comes back", (world) => world.api.annotate({ restart: "token-old" })],
  ["a malformed annotation comes", (world) => world.api.annotate({ restart: "line\nbreak" })],
  ["the annotation gets the time", (world) => world.api.annotate({ restart: time(world, 0) })],
  ["the annotation gets an earlier time", (world) => world.api.annotate({ restart: time(world, 3_600_000) })],
  ["the newest request is taken back", (world) => world.api.annotate({ cancel: newest(world) })],
  [
    "the newest request may skip the interval",
    (world) => world.api.annotate({ skipInterval: newest(world) }),
  ],
];

const operators: readonly [Happening, ...Happening[]] = [
  ["an operator starts the domain", (world) => void world.hypervisor.start()],
  ["an operator destroys it", (world) => void world.hypervisor.stop("Destroyed")],
  ["an operator presses the button", (world) => void world.hypervisor.signal(operator)],
  ["an operator pauses it", (world) => world.hypervisor.pause()],
  ["an operator resets it", (world) => void world.hypervisor.reset()],
  ["the guest goes to sleep", (world) => world.hypervisor.sleep()],
  ["the guest panics", (world) => world.hypervisor.panic()],
  ["the guest panics and is reset", (world) => world.hypervisor.panicAndReset()],
  ["the guest's disk is full", (world, random) => failDisk(world, random)],
  ["its process stops answering", (world) => void (world.hypervisor.hangs = true)],
  ["a backup begins", (world, random) => doJob(world, random, { kind: "Other", what: "Backup" })],
  [
    "a migration begins",
    (world, random) => doJob(world, random, { kind: "Migration", what: "MigrationOut" }),
  ],
  ["an operator resumes it", (world) => void world.hypervisor.resume()],
  [
    "an operator pauses it for a while",
    (world, random) => {
      world.hypervisor.pause();
      world.timeline.after(random.below(20_000), () => void world.hypervisor.resume());
    },
  ],
  ["an operator saves it", (world) => void world.hypervisor.stop("Saved")],
  ["it is migrated away", (world) => void world.hypervisor.stop("Migrated")],
  ["an operator undefines it", (world) => world.hypervisor.undefine()],
  ["an operator defines it", (world) => world.hypervisor.define()],
  [
    "an operator defines it anew",
    (world) => {
      world.hypervisor.undefine();
      world.hypervisor.define();
    },
  ],
  ["the next boot crashes at once", (world) => crashAtStart(world)],
  ["an operator reverts to a snapshot", (world) => world.hypervisor.revert()],
  ["the guest crashes", (world) => void world.hypervisor.stop("Crashed")],
  ["the resource is deleted", (world) => world.api.delete()],
  [
    "the resource is created",
    (world) => world.api.stored === undefined && world.api.create({ restartGeneration: 1 }),
  ],
  ["an older resource names the domain", (world) => rival(world, -1)],
  ["a younger resource names the domain", (world) => rival(world, 1)],
  ["no other resource names the domain", (world) => rival(world, undefined)],
  ["restarts are suspended", (world) => world.api.apply({ suspend: true })],
  ["restarts are no longer suspended", (world) => world.api.apply({ suspend: false })],
];

const effects: readonly [Effect["kind"], ...Effect["kind"][]] = [
  "Mark",
  "Shutdown",
  "Destroy",
  "Start",
  "Settle",
  "Release",
  "Reboot",
  "Reset",
  "Wake",
  "Resume",
  "Repair",
  "Define",
  "RollBack",
  "AttachDisk",
];

const network: Repair = { kind: "StartNetwork", network: "lab" };
const pool: Repair = { kind: "StartPool", pool: "images" };

const networkInactive: Finding = {
  reason: "NetworkInactive",
  path: "devices/interface[1]/source",
  message: "network lab is not active",
  remedy: "virsh net-start lab",
  repair: network,
};
const poolInactive: Finding = {
  reason: "PoolInactive",
  path: "devices/disk[1]/source",
  message: "pool images is not active",
  remedy: "virsh pool-start images",
  repair: pool,
};
const bootDiskMissing: Finding = {
  reason: "DiskMissing",
  path: "devices/disk[1]/source",
  message: "disk vda does not exist",
  remedy: "put it back",
};
const dataDiskMissing: Finding = {
  reason: "DiskMissing",
  path: "devices/disk[2]/source",
  message: "disk vdb does not exist",
  remedy: "put it back",
  disk: "vdb",
};

/** libvirt takes it and does not start it. */
const unstartable = "third";

const preparations: readonly [Happening, ...Happening[]] = [
  ["a network is stopped", (world) => world.hypervisor.host.lose(networkInactive)],
  ["a network is stopped for a while", (world, random) => loseForAWhile(world, random, networkInactive)],
  [
    "a pool is stopped, and cannot be started for a while",
    (world, random) => {
      const { host } = world.hypervisor;
      host.lose(poolInactive);
      host.refusedRepairs.set(repairKey(pool), "the device is busy");
      world.timeline.after(random.below(150_000), () => host.refusedRepairs.delete(repairKey(pool)));
    },
  ],
  ["the boot disk goes away", (world) => world.hypervisor.host.lose(bootDiskMissing)],
  ["the boot disk goes away for a while", (world, random) => loseForAWhile(world, random, bootDiskMissing)],
  ["a data disk goes away", (world) => world.hypervisor.host.lose(dataDiskMissing)],
  ["a data disk goes away for a while", (world, random) => loseForAWhile(world, random, dataDiskMissing)],
  [
    "a data disk is of a kind that cannot be plugged in",
    (world) => void world.hypervisor.host.unpluggable.add("vdb"),
  ],
  ["the definition changes", (world, random) => define(world, random.pick(["first", "second"]))],
  ["the definition changes to one that does not start", (world) => define(world, unstartable)],
  [
    "the definition refers to a ConfigMap",
    (world) => world.api.apply({ definition: { configMapKeyRef: { name: "vm", key: "xml" } } }),
  ],
  [
    "the ConfigMap changes",
    (world, random) => world.api.changeConfigMap(random.pick(["first", "second", "", undefined])),
  ],
  ["the definition goes away", (world) => world.api.apply({ definition: undefined })],
  [
    "somebody changes the persistent configuration",
    (world, random) => void (world.hypervisor.host.configuration = random.pick(["first", "by hand"])),
  ],
];

const faults: readonly [Happening, ...Happening[]] = [
  ["the controller is killed", (world) => world.restartController()],
  ["the controller is told to end", (world, random) => end(world, random)],
  ["the controller dies at an effect", (world, random) => void (world.crashAtPoint = random.below(6))],
  [
    "status writes are lost",
    (world, random) => outage(world, random, (on) => void (world.api.losesWrites = on)),
  ],
  // An error reply may come although the effect has been done.
  ["libvirt refuses an effect", (world, random) => plan(world, random, "Refused", random.chance(0.2))],
  ["an effect cannot be sent", (world, random) => plan(world, random, "NotSent", false)],
  [
    "libvirt refuses an effect again and again",
    (world, random) => {
      const effect = random.pick(effects);
      const kind = random.pick<"Refused" | "Unanswered">(["Refused", "Unanswered"]);
      for (let times = 2 + random.below(4); times > 0; times -= 1)
        world.hypervisor.faults.push({ effect, fault: { kind, message: "as planned" } });
    },
  ],
  ["an effect's answer is lost", (world, random) => plan(world, random, "Unanswered", random.chance(0.5))],
  [
    "libvirt is away",
    (world, random) => outage(world, random, (on) => void (world.hypervisor.reachable = !on)),
  ],
  ["libvirtd is restarted", (world) => world.hypervisor.restartDaemon()],
  ["the connection to libvirt is lost for a moment", (world) => world.hypervisor.reconnect()],
  [
    "the wall clock is set",
    (world, random) => world.timeline.shiftWallClock((random.next() - 0.5) * 7_200_000),
  ],
  ["an older backup of the API server is restored", (world) => world.api.restore(world.backup)],
  ["a pass comes for nothing", (world) => world.enqueue()],
  [
    "the API server becomes slow",
    (world, random) => void (world.api.delays = { watchMs: random.below(3000), writeMs: random.below(3000) }),
  ],
  [
    "libvirt becomes slow",
    (world, random) => void (world.delays = { lookMs: random.below(500), performMs: random.below(2000) }),
  ],
];

const stalls: readonly [number, ...number[]] = [20_000, 35_000, 75_000];

const takeovers: readonly [Happening, ...Happening[]] = [
  ["the controller stands still", (world, random) => world.standStill(random.pick(stalls))],
  [
    "the controller stands still before an effect",
    (world, random) => world.plan({ at: "BeforeEffect", forMs: random.pick(stalls) }),
  ],
  [
    "the controller stands still behind an effect that is late",
    (world, random) =>
      world.plan({ at: "BehindEffect", forMs: random.pick(stalls), lateMs: random.below(55_000) }),
  ],
  [
    "the controller is cut off from the API server",
    (world, random) => world.cutOff(random.pick([5000, 20_000, 60_000])),
  ],
  ["the controller is killed, and its lease expires", (world) => world.kill()],
];

const onlyRequests: readonly [typeof requests] = [requests];
/** Two controllers meet with nobody else to blame. */
const onlyTakeovers: readonly [typeof requests, typeof requests] = [requests, takeovers];
/** Whoever is asked for a restart must see by itself what it lacks. */
const onlyPreparations: readonly [typeof requests, typeof requests] = [requests, preparations];
const allKinds: readonly [typeof requests, ...(typeof requests)[]] = [requests, requests, operators, faults];
const allOnHost: readonly [typeof requests, ...(typeof requests)[]] = [...allKinds, preparations];
const everything: readonly [typeof requests, ...(typeof requests)[]] = [...allOnHost, takeovers];

/** What can have happened last. */
export const happenings: readonly string[] = [
  "nothing",
  ...[...requests, ...operators, ...faults, ...preparations, ...takeovers].map(([name]) => name),
];

/** Happenings that the controller cannot be blamed for, or that take away what it knows. */
export const disturbances: ReadonlySet<string> = new Set(
  [...operators, ...faults, ...takeovers].map(([name]) => name),
);

/** Happenings after which another process takes the lease. */
export const lostLeases: ReadonlySet<string> = new Set(takeovers.map(([name]) => name));

/** Runs the history of a seed against the controller's real code. */
export async function runHistory(
  seed: number,
  { coverage, trace = false }: HistoryOptions = {},
): Promise<HistoryReport> {
  const random = new Random(seed);
  const world = new World(spec(random), { off: random.chance(0.15), guest: guest(random) });
  world.hypervisor.host.unstartable.add(unstartable);
  const ledger = new Ledger(world, disturbances, lostLeases);
  const lines: string[] = [];
  const began = world.timeline.now().monotonicMs;
  let last = "nothing";
  const note = (text: string) =>
    lines.push(`${((world.timeline.now().monotonicMs - began) / 1000).toFixed(3).padStart(9)} s  ${text}`);
  world.onDecision = (decision, seen) => {
    if (trace) note(`${decision.rule}: ${describe(decision)}`);
    coverage?.count(world.hypervisor.domain.state, decision.attempt?.stage ?? "None", last);
    ledger.decided(decision, seen);
  };
  if (trace) world.onTakeover = () => note("  another process takes the lease");
  if (trace) ledger.onEffect = (text) => note(`  ${text()}`);
  try {
    // The resource is looked at once before anything happens to it: a baseline is no request.
    await world.settle(1000);
    ledger.begin();
    world.backup = world.api.stored;
    const kinds = random.pick([
      onlyRequests,
      onlyPreparations,
      allKinds,
      allKinds,
      allKinds,
      allOnHost,
      onlyTakeovers,
      everything,
    ]);
    world.standbyLagMs = random.pick([0, 0, 500, 5000]);
    let atMs = 0;
    for (let count = 1 + random.below(10); count > 0; count -= 1) {
      const [name, happen] = random.pick(random.pick(kinds));
      // Many faults only meet when they come close to each other.
      atMs = random.chance(0.6) ? Math.min(busyMs, atMs + random.below(6000)) : random.below(busyMs);
      world.timeline.after(atMs, () => {
        last = name;
        if (trace) note(`* ${name}`);
        ledger.happens(name);
        happen(world, random);
        ledger.happened();
      });
    }
    compareNowAndThen(world, busyMs);
    await world.settle(busyMs);
    if (trace) note("* the faults stop");
    heal(world);
    // A restart that was adopted in the last look is told in full from the next one on.
    world.timeline.after(restMs / 2, () => world.enqueue());
    await world.settle(restMs);
    compareNowAndThen(world, comparedMs);
    await world.settle(comparedMs);
    ledger.atRest();
    world.enqueue();
    await world.settle(restMs);
    ledger.stays();
  } catch (error) {
    ledger.fail(
      "no exception escapes the controller, and all comes to rest",
      error instanceof Error ? error.message : String(error),
    );
  }
  return { seed, violation: ledger.violation, lines };
}

/** Everything that only makes the controller's life hard ends; what people have done stays. */
function heal(world: World): void {
  world.heal();
  world.hypervisor.faults.length = 0;
  world.hypervisor.reachable = true;
  world.hypervisor.storageProblem = undefined;
  world.hypervisor.hangs = false;
  world.hypervisor.setJob(undefined);
  const { host } = world.hypervisor;
  host.refusedRepairs.clear();
  host.lacks = [];
  world.api.losesWrites = false;
  world.api.delays = { watchMs: 0, writeMs: 0 };
  world.delays = { lookMs: 0, performMs: 0 };
  world.enqueue();
}

function spec(random: Random): Record<string, unknown> {
  const mode = random.pick(["Auto", "Auto", "Soft", "Hard"]);
  return {
    restartGeneration: random.below(3),
    restartPolicy: {
      mode,
      soft: {
        via: random.pick(["Shutdown", "Shutdown", "Reboot"]),
        signals: random.pick([["Agent", "ACPI"], ["Agent", "ACPI"], ["ACPI"], ["Agent"]]),
        timeoutSeconds: random.pick([5, 60, 120]),
        resendSeconds: random.pick([2, 30]),
      },
      hard: { via: random.pick(["PowerCycle", "PowerCycle", "Reset"]) },
      whenPaused: mode === "Soft" ? "Block" : random.pick(["Block", "Force"]),
      whenBusy: random.pick(["Block", "Force"]),
      whenSaved: random.pick(["Block", "Block", "Discard"]),
      onUnavailableVolume: random.pick(["Fail", "Fail", "Detach"]),
      marks: random.pick(["Domain", "Domain", "Domain", "Domain", "None"]),
      verifyGuest: random.pick([undefined, undefined, { timeoutSeconds: 30 }]),
      minIntervalSeconds: random.pick([0, 0, 0, 30, 300]),
      deadlineSeconds: random.pick([undefined, undefined, 20, 100]),
    },
    definition: random.pick([
      undefined,
      undefined,
      undefined,
      { xml: "first" },
      { xml: "second" },
      { xml: unstartable },
    ]),
  };
}

function guest(random: Random): Guest {
  const afterMs = random.pick([50, 3000, 4990, 20_000, 150_000]);
  const agent = random.pick<Guest["agent"]>([
    undefined,
    undefined,
    { connectedAfterMs: undefined, answers: false, obeys: false },
    {
      connectedAfterMs: random.pick([2000, 40_000]),
      answers: random.chance(0.8),
      obeys: random.chance(0.7),
      goesFirst: random.chance(0.2),
    },
  ]);
  const sleepsOn = random.chance(0.3);
  return {
    ...random.pick<Guest>([
      { kind: "Obeys", afterMs },
      { kind: "Obeys", afterMs },
      { kind: "Deaf" },
      { kind: "Reboots", afterMs },
    ]),
    agent,
    sleepsOn,
  };
}

/** The guest is paused, as libvirt does at an I/O error; after a while the disk can be read again. */
function failDisk({ hypervisor, timeline }: World, random: Random): void {
  hypervisor.storageProblem = "disk vda: no space";
  hypervisor.pause("IOError");
  timeline.after(random.below(100_000), () => {
    hypervisor.storageProblem = undefined;
  });
}

/** For so long the program compares machines again and again. */
function compareNowAndThen(world: World, forMs: number): void {
  for (let dueMs = compareEveryMs; dueMs < forMs; dueMs += compareEveryMs)
    world.timeline.after(dueMs, () => world.compareAgain());
}

/** Something goes missing and comes back; libvirt tells of networks and pools, and of no files. */
function loseForAWhile(world: World, random: Random, finding: Finding): void {
  const { host } = world.hypervisor;
  host.lose(finding);
  world.timeline.after(random.below(150_000), () => {
    host.regain(finding);
    if (finding.repair !== undefined) world.hostTells();
  });
}

function define(world: World, xml: string): void {
  world.api.apply({ definition: { xml } });
}

/** libvirt is busy with the domain for a while. */
function doJob({ hypervisor, timeline }: World, random: Random, job: Job): void {
  hypervisor.setJob(job);
  timeline.after(random.below(100_000), () => hypervisor.setJob(undefined));
}

function generation(world: World): number {
  return world.api.stored?.spec.restartGeneration ?? 0;
}

/** The time some milliseconds ago, as `date -Ins` writes it. */
function time(world: World, agoMs: number): string {
  return formatTimestamp(world.timeline.now().epochMs - agoMs);
}

/** The token, or where there is none the generation, that was asked for last. */
function newest({ api }: World): string {
  return api.stored?.metadata.annotations[annotations.restart] ?? String(api.highestGeneration);
}

/** Another resource of the same domain comes, with an age relative to ours in seconds; undefined: it goes. */
function rival(world: World, ageSeconds: number | undefined): void {
  const { stored } = world.api;
  world.api.rivals = [];
  if (stored !== undefined && ageSeconds !== undefined) {
    const createdAtMs = Date.parse(stored.metadata.creationTimestamp) + ageSeconds * 1000;
    const metadata = {
      ...stored.metadata,
      name: "rival",
      uid: "rival",
      creationTimestamp: formatTimestamp(createdAtMs),
    };
    world.api.rivals = [{ ...stored, metadata }];
  }
  world.enqueue();
}

/** The boot that an attempt starts next goes off before anybody has looked at it. */
function crashAtStart({ hypervisor }: World): void {
  const tell = hypervisor.onEvent;
  hypervisor.onEvent = () => {
    tell();
    const { running } = hypervisor;
    if (running === undefined || running.startedBy === operator) return;
    hypervisor.onEvent = tell;
    hypervisor.stop("Crashed");
  };
}

/** The process finishes what it has stopped, for a while, before it goes. */
function end(world: World, random: Random): void {
  world.endController();
  world.timeline.after(random.below(10_000), () => world.restartController());
}

function plan(world: World, random: Random, kind: Fault["kind"], applied: boolean): void {
  world.hypervisor.faults.push({
    effect: random.pick(effects),
    fault: { kind, message: "as planned", applied },
  });
}

function outage(world: World, random: Random, set: (on: boolean) => void): void {
  set(true);
  world.enqueue();
  world.timeline.after(random.below(random.pick([20_000, 120_000])), () => {
    set(false);
    world.enqueue();
  });
}

function describe({ verdict }: Decision): string {
  switch (verdict.kind) {
    case "Act":
      return `${verdict.effect.kind} (${verdict.message})`;
    case "End":
      return `${verdict.result} ${verdict.reason} (${verdict.evidence.join(", ")})`;
    case "Blocked":
    case "Unavailable":
    case "Wait":
    case "Look":
      return `${verdict.kind} ${verdict.reason}`;
    case "Rest":
    case "Rebase":
      return verdict.kind;
    default:
      return verdict satisfies never;
  }
}
