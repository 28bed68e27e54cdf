/**
 * How soon a restart that is requested reaches its guest, and how many restarts a second a controller does: a real API
 * server, a real libvirtd with its test driver, whose guests obey at once. With --against, rounds of this version and of
 * another checkout (with its packages installed) take turns on the same servers, so that both meet the same machine.
 *
 *     npm run bench:reaction -- --guests 100 --rounds 4
 *     npm run bench:reaction -- --against ../warmboot-before
 */
import { parseArgs } from "node:util";
import { startControllerOf, type ControllerProcess } from "../support/controller.ts";
import { toStderr } from "../support/report.ts";
import { Fleet } from "./fleet.ts";
import { machine, usageOf } from "./machine.ts";
import { quantile, table } from "./numbers.ts";

const { values } = parseArgs({
  options: {
    guests: { type: "string", default: "100" },
    rounds: { type: "string", default: "4" },
    against: { type: "string" },
  },
});
/** Before anything of this began: the load is that of others. */
const measuredOn = machine();
const guests = Number(values.guests);
const rounds = Number(values.rounds);
/** What one version did in all of its rounds. */
interface Tally {
  readonly directory: string;
  /** From the request to libvirt's event that the guest has stopped, one restart after the other, in milliseconds. */
  readonly reactionMs: number[];
  /** Restarts a second, all requested at once, to the last result in the status; one number for each round. */
  readonly burst: number[];
  /** Processor time of the controller for each restart of a burst, in milliseconds, and its memory after it, in bytes. */
  readonly cpuMs: number[];
  readonly residentBytes: number[];
}

await using fleet = await Fleet.start();
const { kubeconfig } = fleet.installation;
const names = Array.from({ length: guests }, (_, index) => `guest-${index + 1}`);
const machines = await fleet.add("default", names);

const tallies: Tally[] = [".", ...(values.against === undefined ? [] : [values.against])].map(
  (directory) => ({ directory, reactionMs: [], burst: [], cpuMs: [], residentBytes: [] }),
);
for (let round = 1; round <= rounds; round += 1) {
  for (const tally of round % 2 === 1 ? tallies : tallies.toReversed()) {
    toStderr(`round ${round} of ${rounds}: ${tally.directory}`);
    const controller = startControllerOf(tally.directory, kubeconfig, "--connect", fleet.uri);
    await controller.logged(({ msg }) => msg === "ready");
    await fleet.taken(machines);
    await measure(controller, tally);
    await controller.stop();
  }
}
print();

async function measure({ pid }: ControllerProcess, tally: Tally): Promise<void> {
  for (const one of machines) tally.reactionMs.push((await fleet.reaction(one)).sinceRequestMs);
  const before = usageOf(pid);
  const beganAtMs = performance.now();
  await Promise.all(machines.map((one) => fleet.request(one)));
  await fleet.served(machines);
  const after = usageOf(pid);
  tally.burst.push((guests * 1000) / (performance.now() - beganAtMs));
  tally.cpuMs.push((after.cpuMs - before.cpuMs) / guests);
  tally.residentBytes.push(after.residentBytes);
}

function print(): void {
  const row = ({ directory, reactionMs, burst, cpuMs, residentBytes }: Tally): string[] => [
    directory === "." ? "this version" : directory,
    quantile(reactionMs, 0.5).toFixed(1),
    quantile(reactionMs, 0.95).toFixed(1),
    quantile(burst, 0.5).toFixed(0),
    quantile(cpuMs, 0.5).toFixed(1),
    (quantile(residentBytes, 0.5) / 2 ** 20).toFixed(0),
  ];
  const [mine, other] = tallies;
  const head = ["", "reaction p50, ms", "p95", "restarts/s", "CPU each, ms", "MiB"];
  const lines = [...measuredOn, ...table([head, ...tallies.map(row)])];
  if (mine !== undefined && other !== undefined) {
    const ratio = (of: (tally: Tally) => number) => (of(mine) / of(other)).toFixed(2);
    lines.push(
      `ratio, this version to the other: reaction ${ratio((one) => quantile(one.reactionMs, 0.5))}, ` +
        `restarts a second ${ratio((one) => quantile(one.burst, 0.5))}, CPU ${ratio((one) => quantile(one.cpuMs, 0.5))}`,
    );
  }
  console.log(lines.join("\n"));
}
