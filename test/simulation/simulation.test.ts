import assert from "node:assert/strict";
import { test } from "node:test";
import { runHistory } from "./history.ts";

const histories = 2000;

test(`${histories} random histories violate no invariant`, async () => {
  for (let seed = 1; seed <= histories; seed += 1) {
    const { violation } = await runHistory(seed);
    if (violation === undefined) continue;
    const { lines } = await runHistory(seed, { trace: true });
    assert.fail(`seed ${seed} violates "${violation.invariant}": ${violation.how}\n${lines.join("\n")}`);
  }
});
