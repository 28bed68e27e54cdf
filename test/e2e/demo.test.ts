import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { run } from "../support/run.ts";

test("the demo restarts four guests, leaves one alone, and says so", async () => {
  const output = await run(process.execPath, [fileURLToPath(new URL("../demo/demo.ts", import.meta.url))]);
  assert.match(output, /Four guests restarted as they should, and one was left running as it should/);
  for (const [guest, method] of [
    ["obeying", "Soft"],
    ["deaf", "Hard"],
    ["rebooting", "Soft"],
    ["stranded", "Hard"],
  ] as const) {
    assert.match(output, new RegExp(`${guest} +warmboot +Succeeded: ${method}, down for`));
  }
  assert.match(output, /diskless +warmboot +Stalled: DiskMissing: .*diskless\.qcow2/);
});
