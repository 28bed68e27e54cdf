/**
 * Restarts machines without a pause for as long as asked while, every 20 s, a server, a connection, a controller or a
 * guest fails: 200 machines of libvirt's test driver and 4 guests of QEMU's, each kind with a controller of its own.
 * libvirt's events and the guests' own boot IDs say what really happened. Ends with what was lost, doubled, left off or
 * told wrong, and with the memory of the controller that lived through all of it.
 *
 *     npm run soak -- --minutes 60 [--seed S] [--every SECONDS] [--machines N] [--pause SECONDS]
 *
 * A seed fixes the requests of each machine and the order of the faults, not the moments at which they meet. An
 * interruption prints what there is so far.
 */
import { parseArgs } from "node:util";
import { machine } from "../bench/machine.ts";
import { table } from "../bench/numbers.ts";
import { onInterruption } from "../support/interruption.ts";
import { toStderr } from "../support/report.ts";
import { setUp } from "../support/setup.ts";
import { Soak, type Tally } from "./soak-run.ts";

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "60" },
    seed: { type: "string", default: `${Date.now() % 100_000}` },
    every: { type: "string", default: "20" },
    machines: { type: "string", default: "200" },
    pause: { type: "string", default: "60" },
  },
});

/** Before, code is compiled and caches fill. */
const settledMinute = 10;
const mostGrowth = 1.1;

const measuredOn = machine();
let soak: Soak | undefined;
onInterruption((exitCode) => {
  if (soak !== undefined) {
    const tally = soak.tally();
    for (const { machine, faults } of tally.inFlight)
      toStderr(`${machine.key}: ${faults.map(([, words]) => words).join("; ")}`);
    print(tally);
  }
  // All parts end with this process. Ending them one by one would look to the run like faults.
  process.exit(exitCode);
});
await setUp(() => {});
soak = await Soak.start({
  minutes: Number(values.minutes),
  machines: Number(values.machines),
  pauseSeconds: Number(values.pause),
  guests: ["obey", "obey-after=3", "deaf", "reboot"],
  everySeconds: Number(values.every),
  seed: Number(values.seed),
  report: toStderr,
});
await soak.run();
const isWell = print(soak.tally());
await soak[Symbol.asyncDispose]();
process.exit(isWell ? 0 : 1);

/** Prints what it has come to, and whether nothing was wrong. */
function print({ minutes, results, faults, wrong, inFlight, memory }: Tally): boolean {
  const counts = (named: ReadonlyMap<string, number>) =>
    table(
      [...named]
        .toSorted(([one], [other]) => (one < other ? -1 : 1))
        .map(([name, count]) => [name, `${count}`]),
    );
  const kinds = ["lost", "doubled", "left off", "told wrong"] as const;
  const isLong = Math.min(minutes, Number(values.minutes)) > settledMinute;
  const before = isLong ? memory.test.beforeMs(settledMinute * 60_000) : NaN;
  const after = memory.test.beforeMs(memory.test.last?.atMs ?? 0);
  const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const isFlat = !(after / before > mostGrowth);
  console.log(
    [
      ...measuredOn,
      `seed ${values.seed}, ${minutes.toFixed(1)} minutes`,
      "",
      ...counts(results),
      "",
      ...counts(faults),
      "",
      ...kinds.map(
        (kind) => `${kind}: ${wrong.filter((one) => one.faults.some(([is]) => is === kind)).length}`,
      ),
      ...(inFlight.length > 0 ? [`in flight: ${inFlight.length}`] : []),
      "",
      Number.isNaN(before)
        ? `the memory can be compared after minute ${settledMinute}`
        : `memory of the controller of ${values.machines} machines (medians of five minutes): ${mebibytes(before)} until ` +
          `minute ${settledMinute}, ${mebibytes(after)} at the end; ratio ${(after / before).toFixed(3)}` +
          (isFlat ? "" : `: more than ${mostGrowth}, IT GROWS`),
    ].join("\n"),
  );
  return wrong.length === 0 && isFlat;
}
