import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { run } from "../support/run.ts";

test("the demo restarts its three guests, and says so", async () => {
  const output = await run(process.execPath, [fileURLToPath(new URL("../demo/demo.ts", import.meta.url))]);
  assert.match(output, /All three guests restarted as they should/);
  for (const [guest, method] of [
    ["obeying", "Soft"],
    ["deaf", "Hard"],
    ["rebooting", "Soft"],
  ] as const) {
    assert.match(output, new RegExp(`${guest} +warmboot +Succeeded: ${method}, down for`));
  }
});
