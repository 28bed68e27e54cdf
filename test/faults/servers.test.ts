import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { injectionNamed } from "./injection.ts";
import { Matrix } from "./matrix.ts";
import { pathNamed } from "./paths.ts";
import type { Passage } from "./points.ts";
import { commandOf } from "./table.ts";

/** The moments of a restart that decide, by the point to which the controller has come. */
const moments = {
  "before the guest is marked": "effect/Mark/begin#1",
  "before the guest is asked": "effect/Mark/end#1",
  "while the guest goes down, or does not": "effect/Shutdown/end#1",
  "while the guest is off": "effect/Start/begin#1",
  "once the new boot runs": "effect/Settle/begin#1",
  "once the domain has its result": "effect/Settle/end#1",
} as const satisfies Record<string, Passage>;

type Moment = keyof typeof moments;

/** On which path which fault comes when: those that cost seconds. `npm run faults` has them at all points, and longer ones. */
type Row = [fault: string, path: string, ...when: Moment[]];

const ofCluster: Row[] = [
  ["etcd-kill", "soft", "while the guest is off"],
  [
    "etcd-restore",
    "soft",
    "before the guest is asked",
    "while the guest is off",
    "once the domain has its result",
  ],
  ["etcd-restore-kill", "soft", "while the guest is off", "once the domain has its result"],
  ["etcd-rewind", "soft", "before the guest is marked", "while the guest is off"],
];

const ofHypervisor: Row[] = [
  [
    "qemu-kill",
    "soft-guest",
    "before the guest is asked",
    "while the guest goes down, or does not",
    "once the new boot runs",
  ],
  ["qemu-stop", "soft-then-hard", "before the guest is asked"],
  ["stuck-save", "soft-guest", "before the guest is asked", "while the guest goes down, or does not"],
  ["run-full", "soft-guest", "before the guest is marked", "while the guest is off"],
  ["etc-full", "soft-guest", "before the guest is marked", "once the new boot runs"],
  ["libvirtd-kill", "soft-guest", "while the guest is off"],
  // The definition is there, and nothing tells yet for which restart.
  ["host-reboot", "roll-back", "before the guest is marked"],
  [
    "host-reboot",
    "soft-guest",
    "before the guest is asked",
    "while the guest is off",
    "once the new boot runs",
    "once the domain has its result",
  ],
];

describe(
  "a server that fails in the middle of a restart loses nothing, doubles nothing and leaves no guest off",
  { concurrency: true },
  () => {
    describeRows("the API server and etcd", 1, ofCluster);
    describeRows("libvirtd, its guests and its host", 2, ofHypervisor);
  },
);

/** The cases share an API server, and as many libvirtd as happen at once. */
function describeRows(title: string, workers: number, rows: readonly Row[]): void {
  describe(title, { concurrency: workers }, () => {
    let matrix: Matrix;
    before(async () => {
      matrix = await Matrix.start(workers);
    });
    after(() => matrix[Symbol.asyncDispose]());

    for (const [fault, path, ...when] of rows) {
      for (const moment of when) {
        test(`${fault} ${moment} (${path})`, async () => {
          const blow = { passage: moments[moment], injection: injectionNamed(fault) };
          const result = await matrix.performOne({ path: pathNamed(path), blow });
          const { struck, faults, logs, account } = result.outcome;
          const story = () => [...logs, ...account.heard.map((one) => JSON.stringify(one))].join("\n");
          assert.deepEqual(faults, [], `${commandOf(result)}\n${faults.length > 0 ? story() : ""}`);
          assert.ok(struck, "the controller came to the point");
        });
      }
    }
  });
}
