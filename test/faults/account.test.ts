import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseVirtualMachine } from "../../crds/virtual-machine.ts";
import { judge, startDelayMs, type Account, type Expectation, type Fault } from "./account.ts";

const cold: Expectation = { ends: 1, inPlace: false, results: ["Succeeded"], startsAtOnce: true };
const fromOff: Expectation = { ...cold, ends: 0 };
const inPlace: Expectation = { ...cold, inPlace: true, results: ["Succeeded", "Unverified"] };

const running = { uuid: "4dea22b3-1d52-4d8e-a8b1-0e5f3c4b8a11", id: 2, state: "Running", reason: "Booted" };
const off = { uuid: running.uuid, state: "Shutoff", reason: "Crashed" };

/** What is told of a request of generation 1 that was served, or of another. */
function resource(
  record: object = {},
  { records = 1, domain = running }: { records?: number; domain?: object } = {},
) {
  const time = "2026-01-01T00:00:00Z";
  const request = { restartGeneration: 1, requestedAt: time };
  const restart = {
    request,
    result: "Succeeded",
    method: "Hard",
    evidence: [],
    reason: "Restarted",
    message: "done",
    startedAt: time,
    endedAt: time,
    ...record,
  };
  const metadata = { namespace: "lab", name: "vm", uid: "1", resourceVersion: "1", generation: 1 };
  const parsed = parseVirtualMachine({
    metadata: { ...metadata, creationTimestamp: time },
    spec: { restartGeneration: 1 },
    status: {
      domain,
      lastRestart: restart,
      history: Array.from({ length: records }, () => restart),
    },
  });
  if (parsed.kind === "Invalid") throw new Error(parsed.message);
  return parsed.virtualMachine;
}

/** An account of a restart in good order, but for what is given. */
function account(what: string[], changes: Partial<Account> = {}): Account {
  const heard = what.map((one, index) => ({ what: one, atMs: 1000 + index * 10 }));
  return {
    requestedAtMs: 1000,
    heard,
    resource: resource(),
    isServed: true,
    isAtRest: true,
    runs: true,
    ...changes,
  };
}

const [told] = resource().status.history ?? [];
if (told === undefined) throw new Error("the resource has no history");
const twoResults = [told, { ...told, result: "Unverified" }] as const;

const began = ["Started Booted"];
const cycle = ["Stopped Destroyed", "Started Booted"];
const cases: [sentence: string, account: Account, expectation: Expectation, faults: Fault[]][] = [
  ["a power cycle that is told as one", account(cycle), cold, []],
  ["a second stop", account([...cycle, ...cycle]), cold, ["doubled", "lost"]],
  ["a second start", account([...cycle, "Started Booted"]), cold, ["doubled", "lost"]],
  ["a start of a domain that was off", account(cycle), fromOff, ["doubled", "lost"]],
  [
    "a start that fails before the one that succeeds",
    account(["Stopped Destroyed", "Stopped Failed", "Started Booted"]),
    cold,
    [],
  ],
  [
    "a stop that libvirtd did not live to tell of",
    account([], {
      heard: [
        { what: "Started Booted", atMs: 0 },
        { what: "Started Booted", atMs: 2000 },
      ],
    }),
    cold,
    [],
  ],
  [
    "a guest that is off",
    account(["Stopped Destroyed"], { runs: false, resource: resource({}, { domain: off }) }),
    cold,
    ["left off", "lost"],
  ],
  ["a status that says otherwise", account(cycle, { runs: false }), cold, ["left off", "told wrong"]],
  ["a status that never comes to rest", account(cycle, { isAtRest: false }), cold, ["told wrong"]],
  [
    "a guest that a fault killed, and that was started",
    account([...began, "Stopped Failed", "Started Booted"], {
      bootEndedAtMs: 1015,
      requestedAtMs: 1005,
      resource: resource({ method: "Start" }),
    }),
    cold,
    [],
  ],
  [
    "a new boot that a fault killed, and that is off since",
    account([...began, ...cycle, "Stopped Failed"], {
      bootEndedAtMs: 1025,
      requestedAtMs: 1005,
      runs: false,
      resource: resource({}, { domain: off }),
    }),
    cold,
    [],
  ],
  [
    "a new boot that is off, and that nothing has killed",
    account([...began, ...cycle, "Stopped Failed"], {
      requestedAtMs: 1005,
      runs: false,
      resource: resource({}, { domain: off }),
    }),
    cold,
    ["doubled", "left off", "lost"],
  ],
  ["a boot that only the guest knows of", account(cycle, { boots: ["a", "b", "c"] }), cold, ["doubled"]],
  ["a guest that does not come up again", account(cycle, { boots: [] }), cold, ["left off"]],
  ["a request without a result", account(cycle, { isServed: false }), cold, ["lost"]],
  ["a success without a restart", account([]), cold, ["lost", "told wrong"]],
  ["a failure", account(cycle, { resource: resource({ result: "Failed" }) }), cold, ["told wrong"]],
  [
    "a result that is told twice",
    account(cycle, { resource: resource({}, { records: 2 }) }),
    cold,
    ["told wrong"],
  ],
  ["a result that is told otherwise later", account(cycle, { results: twoResults }), cold, ["told wrong"]],
  ["another method than libvirt's", account(["Stopped Shutdown", "Started Booted"]), cold, ["told wrong"]],
  [
    "no method, where the process that knew it died before a status told of the restart",
    account(cycle, { resource: resource({ method: undefined }), isMethodLost: true }),
    cold,
    [],
  ],
  ["no method", account(cycle, { resource: resource({ method: undefined }) }), cold, ["told wrong"]],
  [
    "a result of another request",
    account(cycle, {
      resource: resource({ request: { restartGeneration: 2, requestedAt: "2026-01-01T00:00:00Z" } }),
    }),
    cold,
    ["told wrong"],
  ],
  ["a reboot that is told four times", account(["Reboot", "Reboot", "Reboot", "Reboot"]), inPlace, []],
  [
    "two reboots",
    account([], {
      heard: [
        { what: "Reboot", atMs: 1000 },
        { what: "Reboot", atMs: 2500 },
      ],
    }),
    inPlace,
    ["doubled", "lost"],
  ],
  [
    "a boot that began in place and that the host ended, which starts no guest by itself",
    account(["Reboot"], { bootEndedAtMs: 1005, runs: false, resource: resource({}, { domain: off }) }),
    inPlace,
    [],
  ],
  [
    "a guest that is off since the host ended its old boot",
    account([], { bootEndedAtMs: 1005, runs: false, resource: resource({}, { domain: off }) }),
    inPlace,
    ["left off", "lost"],
  ],
  [
    "a reset that nobody can prove",
    account([], { resource: resource({ result: "Unverified" }) }),
    inPlace,
    [],
  ],
];

describe("the judge", () => {
  for (const [sentence, given, expectation, faults] of cases) {
    test(`of ${sentence}: ${faults.join(", ") || "nothing is wrong"}`, () => {
      assert.deepEqual(
        judge(given, expectation).map(([fault]) => fault),
        faults,
      );
    });
  }
});

describe("how long a guest waited for its start", () => {
  test("counts from the moment at which the next process was ready", () => {
    assert.equal(startDelayMs(account(cycle, { readyAgainAtMs: 1004 })), 6);
  });

  test("counts for a domain that never ran, too", () => {
    assert.equal(startDelayMs(account(["Started Booted"], { requestedAtMs: 990, readyAgainAtMs: 995 })), 5);
  });

  test("is nothing where the guest was not off then, or no process died, or none after the request", () => {
    assert.equal(startDelayMs(account(cycle, { readyAgainAtMs: 1011 })), undefined);
    assert.equal(startDelayMs(account(cycle)), undefined);
    assert.equal(startDelayMs(account(cycle, { readyAgainAtMs: 999 })), undefined);
  });
});
