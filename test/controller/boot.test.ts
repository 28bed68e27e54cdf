import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { beginAttempt, type Attempt } from "../../controller/attempt.ts";
import { evidenceOfNewBoot, evidenceOfReboot, runningBoot, type Boot } from "../../controller/boot.ts";
import type { Domain, Instant, Marks, RequestMark } from "../../controller/ports.ts";
import { restartPolicy } from "../../crds/restart-policy.ts";

const at = (monotonicMs: number): Instant => ({ epochMs: monotonicMs, monotonicMs });
const id = "a".repeat(32);
const begun: Attempt = {
  ...beginAttempt(id, { requestedAt: "2026-01-01T00:00:00.000Z" }, restartPolicy.parse({}), at(0)),
  marked: true,
  markedAt: at(1000),
  domainId: 1,
  connection: 1,
};
const onStatus: Attempt = { ...begun, recordIn: "Status" };
const running: Domain = {
  uuid: "00000000-0000-4000-8000-000000000001",
  name: "vm",
  id: 1,
  state: "Running",
  reason: "Booted",
  connection: 1,
};
const off: Domain = { ...running, id: undefined, state: "Shutoff", reason: "Shutdown" };

function requestMark(attempt: string): RequestMark {
  return {
    attempt,
    cluster: "cluster",
    resource: "uid",
    owner: "default/vm",
    request: begun.request,
    servedBefore: {},
    startedAtMs: 0,
  };
}
const mine = requestMark(id);
const anothers = requestMark("b".repeat(32));

describe("which boot runs, as the marks say:", () => {
  /** The boot mark, the request mark of the running boot, whether this process has started one, which boot it is. */
  const table: readonly [boolean, RequestMark | undefined, boolean, Boot][] = [
    [true, undefined, false, "Old"],
    [true, undefined, true, "Unknown"],
    [true, anothers, false, "Old"],
    [true, anothers, true, "Unknown"],
    [true, mine, false, "Unknown"],
    [true, mine, true, "Unknown"],
    [false, undefined, false, "Unknown"],
    [false, undefined, true, "Unknown"],
    [false, anothers, false, "Unknown"],
    [false, anothers, true, "Unknown"],
    [false, mine, false, "New"],
    [false, mine, true, "New"],
  ];
  for (const [bootMark, live, hasStarted, expected] of table) {
    const request = live === undefined ? "none" : live === mine ? "its own" : "another's";
    test(`boot mark ${bootMark}, request mark ${request}, started here ${hasStarted}: ${expected}`, () => {
      const attempt = hasStarted ? { ...begun, started: at(2000) } : begun;
      const marks: Marks = { bootMark, live, next: mine };
      assert.equal(runningBoot(attempt, running, marks), expected);
      // An ID proves nothing, neither way.
      assert.equal(runningBoot(attempt, { ...running, id: 7 }, marks), expected);
      assert.equal(runningBoot(attempt, off, marks), "Off");
    });
  }
});

describe("which boot runs, without marks:", () => {
  const none: Marks = { bootMark: false };
  /** What this process knows, what it sees, which boot it is. */
  const table: readonly [string, Partial<Attempt>, Partial<Domain>, Boot][] = [
    ["the same ID over one connection", {}, {}, "Old"],
    ["the same ID over another connection", {}, { connection: 2 }, "Unknown"],
    ["another ID", {}, { id: 2 }, "New"],
    ["another ID of a boot that was restored", {}, { id: 2, reason: "Restored" }, "Unknown"],
    ["another ID of a boot from a snapshot", {}, { id: 2, reason: "FromSnapshot" }, "Unknown"],
    ["a stop since it is on record", {}, { lastStop: at(2000) }, "New"],
    ["a stop before it was on record", {}, { lastStop: at(500) }, "Old"],
    ["a start by this process", { started: at(2000) }, { connection: 2 }, "New"],
    ["the attempt of another process", { unproven: true }, {}, "Unknown"],
    [
      "the attempt of another process, which this one has started",
      { unproven: true, started: at(2000) },
      {},
      "New",
    ],
    ["a domain that was off before", { domainId: undefined }, {}, "New"],
  ];
  for (const [what, attempt, domain, expected] of table) {
    test(`${what}: ${expected}`, () => {
      assert.equal(runningBoot({ ...onStatus, ...attempt }, { ...running, ...domain }, none), expected);
    });
  }
  test("no boot: Off", () => {
    assert.equal(runningBoot(onStatus, off, none), "Off");
  });
});

describe("the evidence", () => {
  const marks = ["BootMarkGone", "RequestMarkSeen"];
  for (const [what, attempt, domain, expected] of [
    ["of the marks alone", begun, running, marks],
    ["of a stop that was told", begun, { ...running, lastStop: at(2000) }, ["StopEvent", ...marks]],
    ["not of a stop before it was on record", begun, { ...running, lastStop: at(500) }, marks],
    ["of another ID", begun, { ...running, id: 2 }, [...marks, "DomainIDChanged"]],
    ["not of the ID of a domain that was off", { ...begun, domainId: undefined }, running, marks],
    ["without marks, of a start by this process", { ...onStatus, started: at(2000) }, running, ["DomainOff"]],
  ] as const)
    test(`of a new boot is that ${what}`, () => {
      assert.deepEqual(evidenceOfNewBoot(attempt, domain), expected);
    });

  const asked: Attempt = { ...begun, askedAt: at(2000), bootId: "one" };
  for (const [what, lastReboot, bootId, expected] of [
    ["a reboot that was told after the guest was asked", at(2001), undefined, ["RebootEvent"]],
    ["another boot ID", undefined, "two", ["BootIDChanged"]],
    ["both", at(2001), "two", ["RebootEvent", "BootIDChanged"]],
    ["not a reboot before the guest was asked", at(1999), undefined, []],
    ["not the same boot ID", undefined, "one", []],
    ["nothing", undefined, undefined, []],
  ] as const)
    test(`of a restart in place is ${what}`, () => {
      const agent = bootId === undefined ? undefined : { bootId };
      assert.deepEqual(evidenceOfReboot(asked, { ...running, lastReboot }, agent), expected);
    });

  test("of a restart in place is nothing where nobody was asked, or no boot ID was known before", () => {
    const seen = { ...running, lastReboot: at(2001) };
    assert.deepEqual(evidenceOfReboot(begun, seen, { bootId: "two" }), []);
  });
});
