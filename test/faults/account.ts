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
  /** Whether the request ended within the time that a case has. */
  isServed: boolean;
  /** Whether the domain runs at the end, as libvirt answers. */
  runs: boolean;
  /** IDs of the boots that the guest has told itself; absent where it tells of none. */
  boots?: readonly string[] | undefined;
  /** When a process that was started after a crash was ready. */
  readyAgainAtMs?: number | undefined;
}

/** What is wrong with a case. */
export type Fault = "lost" | "doubled" | "left off" | "told wrong";

/** A stop that nobody could tell of. */
export const unheard = "Stopped Unheard";

/** Up to four events come of one reboot, within a third of a second. */
const burstMs = 1000;

/** What is wrong in an account, in words; empty where nothing is. */
export function judge(account: Account, { ends, inPlace, results }: Expectation): [Fault, string][] {
  const { resource, isServed, runs } = account;
  const faults: [Fault, string][] = [];
  const { stops, starts, reboots } = counted(account);
  const ended = stops.length + reboots;
  if (ended > ends || starts > 1) faults.push(["doubled", `${ended} boots ended and ${starts} began`]);
  const told = account.boots === undefined ? undefined : new Set(account.boots).size;
  if (told !== undefined && told !== ends + 1)
    faults.push([told > ends ? "doubled" : "left off", `the guest booted ${told} times`]);
  if (!runs) faults.push(["left off", "the domain is off at the end"]);
  const { lastRestart, history = [] } = resource.status;
  if (!isServed || lastRestart === undefined) {
    faults.push(["lost", "the request has no result"]);
    return faults;
  }
  const { result, method, reason, message } = lastRestart;
  if (!results.includes(result)) faults.push(["told wrong", `${result}, ${reason}: ${message}`]);
  if (history.length !== 1) faults.push(["told wrong", `the history has ${history.length} restarts`]);
  if (lastRestart.request.restartGeneration !== resource.spec.restartGeneration)
    faults.push(["told wrong", "the result is of another request"]);
  if (result === "Succeeded") {
    const happened = inPlace ? reboots === 1 : stops.length === ends && starts === 1;
    if (!happened) faults.push(["lost", `Succeeded, and ${ended} boots ended and ${starts} began`]);
    if (!inPlace && !stops.includes(unheard) && method !== methodOf(stops))
      faults.push(["told wrong", `${method}, and libvirt heard ${stops.join(", ") || "no stop"}`]);
  }
  return faults;
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
    stops: stopsOf(heard.filter(({ what }) => isPower(what)))
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

/** A start that fails is told as a stop, too. */
function isPower(what: string): boolean {
  return /^(Started|Stopped)/.test(what) && what !== "Stopped Failed";
}

/** The method that a restart with these stops had. */
export function methodOf(stops: readonly string[]): string {
  if (stops.length === 0) return "Start";
  return stops.includes("Stopped Destroyed") ? "Hard" : "Soft";
}
