import type { RestartRecord } from "../../crds/restart.ts";
import type { VirtualMachine } from "../../crds/virtual-machine.ts";

/** Something that libvirt told the runner's own session of a domain. */
export interface Heard {
  /** Such as "Stopped Destroyed", "Started Booted" or "Reboot". */
  what: string;
  /** As performance.now() counts. */
  atMs: number;
}

/** What a path of the controller does to a machine where nothing goes wrong, or where the controller is interrupted. */
export interface Expectation {
  /** How many boots one request ends: more are a restart too many. */
  ends: 0 | 1;
  /** Whether the boot is ended in place: then libvirt tells of a reboot, and of no stop. */
  inPlace: boolean;
  /** The results that may be told. */
  results: readonly string[];
  /** Whether a guest that is off is started without waiting for anything. */
  startsAtOnce: boolean;
}

/** Everything that the judge goes by: none of it is the controller's own word but the resource. */
export interface Account {
  /** When the request was made. */
  requestedAtMs: number;
  heard: readonly Heard[];
  /** As the API server has it at the end. */
  resource: VirtualMachine;
  /** What its status has told of its last restart, each time that this changed; absent where a backup was restored. */
  results?: readonly RestartRecord[] | undefined;
  /** Whether the request ended within the time that a case has. */
  isServed: boolean;
  /** Whether the status then came to say that nothing is under way. */
  isAtRest: boolean;
  /** Whether the domain runs at the end, as libvirt answers. */
  runs: boolean;
  /** IDs of the boots that the guest has told itself; absent where it tells of none. */
  boots?: readonly string[] | undefined;
  /** When a process that was started after a crash was ready. */
  readyAgainAtMs?: number | undefined;
  /** Whether the process that knew how the old boot ended died, and no status told of it: then nobody knows. */
  isMethodLost?: boolean;
  /** When a fault ended the boot that ran then, if any. */
  bootEndedAtMs?: number | undefined;
}

/** What can be wrong with a case. */
export const faultNames = ["lost", "doubled", "left off", "told wrong"] as const;
/** One of them. */
export type Fault = (typeof faultNames)[number];

/** A stop that nobody could tell of. */
export const unheard = "Stopped Unheard";

/** What libvirt says of a guest whose process is gone, and of one that it could not start. */
const crash = "Stopped Failed";

/** Up to four events come of one reboot, within a third of a second. */
const burstMs = 1000;

/** What is wrong in an account, in words; empty where nothing is. */
export function judge(account: Account, { ends, inPlace, results }: Expectation): [Fault, string][] {
  const { resource, isServed, isAtRest, runs } = account;
  const faults: [Fault, string][] = [];
  const { stops, starts, reboots } = counted(account);
  const ended = stops.length + reboots;
  // A new boot that the fault ended is one more; whether that is started again is not asked.
  const more = isNewBootEnded(account) ? 1 : 0;
  if (ended > ends + more || starts > 1 + more)
    faults.push(["doubled", `${ended} boots ended and ${starts} began`]);
  const told = account.boots === undefined ? undefined : new Set(account.boots).size;
  if (told !== undefined && (told < ends + 1 || told > ends + 1 + more))
    faults.push([told > ends ? "doubled" : "left off", `the guest booted ${told} times`]);
  if (!runs && more === 0) faults.push(["left off", "the domain is off at the end"]);
  const { lastRestart, history = [], domain } = resource.status;
  if (!isServed || lastRestart === undefined) {
    faults.push(["lost", "the request has no result"]);
    return faults;
  }
  if (!isAtRest) faults.push(["told wrong", "the status never says that nothing is under way"]);
  if ((domain?.id !== undefined) !== runs)
    faults.push([
      "told wrong",
      `the domain ${runs ? "runs" : "is off"}, and the status says ${domain?.state}`,
    ]);
  const { result, method, reason, message } = lastRestart;
  const isStoppedSince = more > 0 && reason === "StoppedAfterStart";
  if (!results.includes(result) && !isStoppedSince)
    faults.push(["told wrong", `${result}, ${reason}: ${message}`]);
  if (history.length !== 1) faults.push(["told wrong", `the history has ${history.length} restarts`]);
  const tellings = account.results?.length ?? 1;
  if (tellings !== 1) faults.push(["told wrong", `the result was told, and changed ${tellings - 1} times`]);
  if (lastRestart.request.restartGeneration !== resource.spec.restartGeneration)
    faults.push(["told wrong", "the result is of another request"]);
  if (result === "Succeeded") {
    const isCycle = stops.length >= ends && stops.length <= ends + more && starts >= 1 && starts <= 1 + more;
    const happened = inPlace ? reboots === 1 : isCycle;
    // What libvirt did not live to tell of, the guest tells itself.
    if (!happened && told === undefined)
      faults.push(["lost", `Succeeded, and ${ended} boots ended and ${starts} began`]);
    const isForgotten = account.isMethodLost === true && method === undefined;
    if (!inPlace && !stops.includes(unheard) && !isForgotten && method !== methodOf(stops))
      faults.push(["told wrong", `${method}, and libvirt heard ${stops.join(", ") || "no stop"}`]);
  }
  return faults;
}

/** Whether a fault ended the boot that the request had led to: it may not have come to tell of itself. */
export function isNewBootEnded({
  heard,
  requestedAtMs,
  bootEndedAtMs,
}: Pick<Account, "heard" | "requestedAtMs" | "bootEndedAtMs">): boolean {
  if (bootEndedAtMs === undefined) return false;
  return heard.some(
    ({ what, atMs }) => /^(Started|Reboot)/.test(what) && atMs >= requestedAtMs && atMs < bootEndedAtMs,
  );
}

/** How long a guest that was off when the next process was ready waited for its start from then on. */
export function startDelayMs({ heard, requestedAtMs, readyAgainAtMs }: Account): number | undefined {
  if (readyAgainAtMs === undefined || readyAgainAtMs < requestedAtMs) return undefined;
  const before = heard.findLast(
    ({ what, atMs }) => /^(Started|Stopped)/.test(what) && atMs <= readyAgainAtMs,
  );
  const start = heard.find(({ what, atMs }) => what.startsWith("Started") && atMs > readyAgainAtMs);
  if (start === undefined || before?.what.startsWith("Started") === true) return undefined;
  return start.atMs - readyAgainAtMs;
}

/** What libvirt was heard to tell since a request: each stop in its words, and how often the domain started or rebooted. */
export function counted({ heard, requestedAtMs }: Pick<Account, "heard" | "requestedAtMs">): {
  stops: string[];
  starts: number;
  reboots: number;
} {
  const since = heard.filter(({ atMs }) => atMs >= requestedAtMs);
  const reboots = since.filter(({ what }) => what === "Reboot");
  return {
    stops: stopsOf(powerOf(heard))
      .filter(({ atMs }) => atMs >= requestedAtMs)
      .map(({ what }) => what),
    starts: since.filter(({ what }) => what.startsWith("Started")).length,
    reboots: reboots.filter(({ atMs }, index) => atMs - (reboots[index - 1]?.atMs ?? -Infinity) > burstMs)
      .length,
  };
}

/** A domain that is started twice has stopped in between, although a libvirtd that was killed could not tell. */
function stopsOf(power: readonly Heard[]): Heard[] {
  return power.flatMap(({ what, atMs }, index) => {
    if (what.startsWith("Stopped")) return [{ what, atMs }];
    return power[index - 1]?.what.startsWith("Started") === true ? [{ what: unheard, atMs }] : [];
  });
}

/** What turns a domain on or off. A start that fails is told as a stop, too, as is the crash of one that runs. */
function powerOf(heard: readonly Heard[]): Heard[] {
  const power: Heard[] = [];
  for (const one of heard) {
    const isFailedStart = one.what === crash && power.at(-1)?.what.startsWith("Stopped") === true;
    if (/^(Started|Stopped)/.test(one.what) && !isFailedStart) power.push(one);
  }
  return power;
}

/** The method that a restart with these stops had. */
export function methodOf(stops: readonly string[]): string {
  // Nobody's doing but the guest's own, or that of whoever killed it.
  if (stops.length === 0 || stops[0] === crash) return "Start";
  return stops.includes("Stopped Destroyed") ? "Hard" : "Soft";
}
