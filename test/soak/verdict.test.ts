import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { RestartRecord } from "../../crds/restart.ts";
import type { Fault } from "../faults/account.ts";
import { verdictOf, type Account } from "./verdict.ts";

const time = "2026-01-01T00:00:00Z";
const record: RestartRecord = {
  request: { restartGeneration: 1, requestedAt: time },
  result: "Succeeded",
  method: "Hard",
  evidence: [],
  reason: "Restarted",
  message: "done",
  startedAt: time,
  endedAt: time,
};
const failed: RestartRecord = { ...record, result: "Failed", method: undefined };
const cycle = ["Stopped Destroyed", "Started Booted"];

/** An account of a restart in good order, but for what is given. */
function account(what: string[], changes: Partial<Account> = {}): Account {
  const heard = what.map((one, index) => ({ what: one, atMs: 1000 + index * 10 }));
  const isWell = { runs: true, isHurt: false, mayBeOff: false, isDeaf: false };
  return { requestedAtMs: 1000, mode: "Auto", heard, records: [record], ...isWell, ...changes };
}

const hurt = { isHurt: true, mayBeOff: true };
const cases: [sentence: string, account: Account, faults: Fault[]][] = [
  ["a power cycle", account(cycle), []],
  ["a guest that tells of its boot", account(cycle, { boots: 1 }), []],
  ["a second power cycle", account([...cycle, ...cycle]), ["doubled"]],
  ["a second boot that only the guest told of", account(cycle, { boots: 2 }), ["doubled"]],
  ["a guest that does not come up", account(cycle, { boots: 0 }), ["left off"]],
  ["a domain that is off", account(cycle, { runs: false }), ["left off"]],
  ["a request of which the history knows nothing", account(cycle, { records: [] }), ["lost"]],
  ["a result that is told twice", account(cycle, { records: [record, record] }), ["told wrong"]],
  ["a success without a restart", account([]), ["lost"]],
  [
    "a domain that was off before",
    account(["Started Booted"], { records: [{ ...record, method: "Start" }] }),
    ["lost", "told wrong"],
  ],
  ["another method than libvirt's", account(["Stopped Shutdown", "Started Booted"]), ["told wrong"]],
  ["a failure", account(cycle, { records: [failed] }), ["told wrong"]],
  [
    "a deaf guest that was only to be asked",
    account([], { mode: "Soft", isDeaf: true, records: [failed] }),
    [],
  ],
  ["a guest that the soak has killed", account([...cycle, "Stopped Failed"], { ...hurt, runs: false }), []],
  ["one that was restarted over it", account([...cycle, ...cycle], hurt), []],
  ["one that was restarted twice over it", account([...cycle, ...cycle, ...cycle], hurt), ["doubled"]],
  ["one that is still off at the end", account(cycle, { isHurt: true, runs: false }), ["left off"]],
];

describe("the verdict", () => {
  for (const [sentence, given, faults] of cases) {
    test(`on ${sentence}: ${faults.join(", ") || "nothing is wrong"}`, () => {
      assert.deepEqual(
        verdictOf(given).map(([fault]) => fault),
        faults,
      );
    });
  }
});
