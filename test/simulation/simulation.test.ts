import assert from "node:assert/strict";
import { test } from "node:test";
import { runHistory } from "./history.ts";

const histories = 2000;

test(`${histories} random histories violate no invariant`, async () => {
  for (let seed = 1; seed <= histories; seed += 1) {
    const { violation, lines } = await runHistory(seed);
    const told =
      violation && `seed ${seed} violates "${violation.invariant}": ${violation.how}\n${lines.join("\n")}`;
    assert.equal(told, undefined);
  }
});
