/**
 * Measures what a restart holds while it waits for its guest: memory, workers and timers, for thousands of deaf guests
 * in this process. The hypervisor of this benchmark is a function without memory, so that what grows is the
 * controller's own.
 *
 *     npm run bench:waiting
 *     npm run bench:waiting -- --resources 100000
 */
import { parseArgs } from "node:util";
import type { Domain, Hypervisor, NextStart, RequestMark } from "../../controller/ports.ts";
import { systemClock } from "../../src/clock.ts";
import { Fleet } from "../simulation/fleet.ts";
import { machine, usageOf } from "./machine.ts";
import { table } from "./numbers.ts";

const { values } = parseArgs({ options: { resources: { type: "string", default: "10000" } } });
const resources = Number(values.resources);

/** A domain that runs for ever, on whatever is done to it. */
function running(name: string): Domain {
  return { uuid: `uuid-of-${name}`, name, id: 1, state: "Running", reason: "Booted", connection: 1 };
}

/** The domain's record of an attempt, as far as anybody asks for it while it waits. */
function markOf(attempt: string): RequestMark {
  const request = { requestedAt: new Date().toISOString() };
  const owner = { cluster: "cluster", resource: "", owner: "default/vm" };
  return { attempt, ...owner, request, servedBefore: {}, startedAtMs: 0 };
}

/** The next start would change nothing, and lacks nothing. */
const nothing: NextStart = {
  isToBeDefined: false,
  keepsPrevious: false,
  changes: [],
  absentDisks: [],
  findings: [],
};

const deaf: Hypervisor = {
  glance: (reference) =>
    Promise.resolve({ kind: "Present", domain: running(nameOf(reference)), next: nothing }),
  look: (reference, { attempt }) =>
    Promise.resolve({
      kind: "Present",
      domain: running(nameOf(reference)),
      persistent: true,
      next: nothing,
      marks: attempt === undefined ? { bootMark: false } : { bootMark: true, next: markOf(attempt) },
    }),
  perform: () => Promise.resolve({ kind: "Done" }),
  repair: () => Promise.resolve({ kind: "Done" }),
  defineNew: () => Promise.resolve({ kind: "Done" }),
};

const workers = 64;
await using fleet = new Fleet({ resources, hypervisor: deaf, clock: systemClock, workers });
const made = held();
await fleet.settle();
const atRest = held();
fleet.requestAll(new Date().toISOString());
await fleet.settle();
const waiting = held();
console.log(
  [
    `${resources} restarts that wait for deaf guests, in this process`,
    ...machine(),
    "",
    ...table([
      [
        "held after garbage collection",
        "resources read",
        "at rest",
        "all waiting",
        "each restart that waits",
      ],
      row("JavaScript heap", ({ heapBytes }) => heapBytes),
      row("resident memory", ({ residentBytes }) => residentBytes),
      [
        "queue entries",
        ...[made, atRest, waiting].map(({ delayed }) => String(delayed)),
        String(waiting.delayed / resources),
      ],
      ["workers in use", ...[made, atRest, waiting].map(({ working }) => String(working)), "0"],
      ["armed timers", ...[made, atRest, waiting].map(({ timers }) => String(timers)), ""],
    ]),
  ].join("\n"),
);

interface Held {
  heapBytes: number;
  residentBytes: number;
  delayed: number;
  working: number;
  timers: number;
}

function held(): Held {
  if (globalThis.gc === undefined)
    throw new Error("run it with node --expose-gc, as npm run bench:waiting does");
  // What a first collection finalizes is only freed by a second one.
  globalThis.gc();
  globalThis.gc();
  const timers = process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length;
  return {
    heapBytes: process.memoryUsage().heapUsed,
    residentBytes: usageOf(process.pid).residentBytes,
    delayed: fleet.queue.delayed,
    working: fleet.queue.working,
    timers,
  };
}

function row(name: string, bytesOf: (held: Held) => number): string[] {
  const each = (bytesOf(waiting) - bytesOf(atRest)) / resources / 1024;
  return [
    name,
    ...[made, atRest, waiting].map((at) => `${(bytesOf(at) / 2 ** 20).toFixed(1)} MiB`),
    `${each.toFixed(2)} KiB`,
  ];
}

function nameOf(reference: Parameters<Hypervisor["glance"]>[0]): string {
  return reference.kind === "Name" ? reference.name : "";
}
