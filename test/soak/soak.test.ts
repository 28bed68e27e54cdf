import assert from "node:assert/strict";
import { test } from "node:test";
import { Soak } from "./soak-run.ts";

/** With this seed a controller, etcd, libvirtd, QEMU and the API server are killed, in this order. */
const seed = 6732;
const everySeconds = 5;
const minutes = 40 / 60;
const pauseSeconds = 10;

test("whatever fails while machines are restarted, each request ends one boot, and in the end all of them run", async (t) => {
  const report = (line: string) => t.diagnostic(line);
  const guests = ["obey", "deaf"] as const;
  const load = { machines: 20, pauseSeconds, guests };
  await using soak = await Soak.start({ ...load, minutes, everySeconds, seed, report });
  await soak.run();
  const { wrong, results, faults } = soak.tally();
  assert.deepEqual(
    wrong.map(({ machine, faults, heard }) => ({ machine: machine.key, faults, heard })),
    [],
  );
  // What has not happened has shown nothing.
  assert.ok(faults.size > 0);
  for (const result of ["test Succeeded Soft", "test Succeeded Hard", "qemu Succeeded Hard"])
    assert.ok(
      (results.get(result) ?? 0) > 0,
      `there was no ${result}, only ${[...results.keys()].join(", ")}`,
    );
});
