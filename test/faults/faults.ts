/**
 * Takes machines through every path of the controller and lets its process die, or worse, at every point of each; then
 * looks from outside whether anything was lost, doubled or left off. Prints a table.
 *
 *     npm run faults -- [--path soft,hard] [--point NAME[#PASSAGE],...] [--fault kill,...] [--all] [--sample N --seed S]
 *                       [--stops] [--workers N] [--list] [--trace]
 *
 * --list prints the points of each path. --stops lets the process stand still for 20, 35 and 75 s where that matters.
 * Other faults than these and kill come while the process waits there: other-start (by virsh); libvirtd-kill,
 * libvirtd-restart, libvirtd-stop-20, libvirtd-stop-40; qemu-kill, qemu-stop, stuck-save, run-full, etc-full, host-reboot;
 * api-kill, api-restart, api-stop, etcd-kill, etcd-stop, etcd-restore, etcd-restore-kill, etcd-rewind. An interruption
 * prints what there is so far.
 */
import { parseArgs } from "node:util";
import { onInterruption } from "../support/interruption.ts";
import type { Driver } from "../support/libvirtd.ts";
import { toStderr } from "../support/report.ts";
import { setUp } from "../support/setup.ts";
import { injections, suits, type Injection } from "./injection.ts";
import { Matrix, type Job, type Result } from "./matrix.ts";
import { paths, type Path } from "./paths.ts";
import {
  chosenPassages,
  openingPassages,
  pointOf,
  sampled,
  standstillPassages,
  type Passage,
  type Passages,
} from "./points.ts";
import { commandOf, tableOf, totalsOf } from "./table.ts";

const { values } = parseArgs({
  options: {
    path: { type: "string" },
    point: { type: "string" },
    fault: { type: "string", default: "kill" },
    all: { type: "boolean", default: false },
    sample: { type: "string" },
    seed: { type: "string", default: `${Date.now() % 100_000}` },
    workers: { type: "string" },
    stops: { type: "boolean", default: false },
    list: { type: "boolean", default: false },
    trace: { type: "boolean", default: false },
  },
});

const parts = new AsyncDisposableStack();
const results: Result[] = [];
const beganAtMs = performance.now();
onInterruption((exitCode) => {
  printResults();
  void parts.disposeAsync().then(() => process.exit(exitCode));
});
const chosenPaths = chosen(values.path, paths, "path");
const faults = values.stops
  ? injections.filter(({ verb }) => verb === "stop")
  : chosen(values.fault, injections, "fault");
await setUp(() => {});
const isShared = faults.some((fault) => fault.isShared === true);
const workers = isShared ? 1 : values.workers === undefined ? undefined : Number(values.workers);
const matrix = parts.use(await Matrix.start(workers));

const listings = await matrix.perform(chosenPaths.map((path) => ({ path })));
for (const listing of listings) report(listing);
// What goes wrong where nothing happens counts, too.
results.push(...listings);
if (values.list) {
  for (const { path, outcome } of listings)
    console.log([`${path.name}:`, ...outcome.passages.all].join("\n  "));
} else {
  const jobs = listings.flatMap(jobsOf);
  const some = values.sample === undefined ? jobs : sampled(jobs, Number(values.sample), Number(values.seed));
  if (some.length === 0)
    throw new Error(
      "no case fits: --list prints the points of each path, and faults.ts says which faults there are",
    );
  toStderr(`${some.length} cases of ${jobs.length}, seed ${values.seed}`);
  await matrix.perform(some, (result) => {
    results.push(result);
    const done = results.length - listings.length;
    if (done % 25 === 0) toStderr(`${done} of ${some.length} cases, ${seconds()}`);
    report(result);
  });
  printResults();
}
process.exitCode = results.some(({ outcome }) => outcome.faults.length > 0) ? 1 : 0;
const points = new Set(listings.flatMap(({ outcome }) => outcome.passages.all.map(pointOf)));
console.log(`${points.size} points on ${listings.length} paths.`);
await parts.disposeAsync();
process.exit();

function printResults(): void {
  console.log(`${tableOf(results)}\n\n${totalsOf(results)}\nIt took ${seconds()}.`);
}

function jobsOf({ path, outcome }: Result): Job[] {
  return passagesOf(path, outcome.passages).flatMap((passage) =>
    suited(path.driver).map((injection) => ({ path, blow: { passage, injection } })),
  );
}

/** A point that is named is tried at each of its passages, or at the one that is named. */
function passagesOf(path: Path, passages: Passages): Passage[] {
  const { point, all } = values;
  if (point !== undefined) {
    const points = point.split(",");
    return passages.all.filter((passage) => points.includes(passage) || points.includes(pointOf(passage)));
  }
  if (all) return [...passages.all];
  if (values.stops) return standstillPassages(passages);
  return path === chosenPaths[0]
    ? [...openingPassages(passages), ...chosenPassages(passages)]
    : chosenPassages(passages);
}

function suited(driver: Driver): Injection[] {
  return faults.filter((fault) => suits(fault, driver));
}

function chosen<T extends { name: string }>(names: string | undefined, all: readonly T[], what: string): T[] {
  const known = new Map(all.map((one) => [one.name, one]));
  return (names?.split(",") ?? [...known.keys()]).map((name) => {
    const found = known.get(name);
    if (found === undefined)
      throw new Error(`there is no ${what} ${name}, only ${[...known.keys()].join(", ")}`);
    return found;
  });
}

/** What went wrong is told at once, with everything that was seen of it where that was asked. */
function report(result: Result): void {
  const { outcome } = result;
  const faulty = outcome.faults.map(([fault, why]) => `${fault}: ${why}`);
  if (faulty.length > 0) toStderr(`${faulty.join("; ")}\n    ${commandOf(result)}`);
  if (!values.trace) return;
  const { requestedAtMs, readyAgainAtMs, heard } = outcome.account;
  const since = (atMs: number) => `${(atMs - requestedAtMs).toFixed(0)} ms`;
  toStderr(outcome.logs.join("\n"));
  for (const { what, atMs } of heard) toStderr(`${since(atMs)}: ${what}`);
  if (readyAgainAtMs !== undefined) toStderr(`${since(readyAgainAtMs)}: the next process is ready`);
}

function seconds(): string {
  return `${((performance.now() - beganAtMs) / 1000).toFixed(0)} s`;
}
