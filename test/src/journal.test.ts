import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { pino } from "pino";
import type { Domain, Performance, UnreachableReason } from "../../controller/ports.ts";
import { createJournal } from "../../src/journal.ts";
import { World } from "../simulation/world.ts";

type Line = Record<string, unknown>;

/** A journal, and the lines that it writes. */
function journalWithLines() {
  const lines: Line[] = [];
  const write = (line: string) => void lines.push(JSON.parse(line) as Line);
  const formatters = { level: (label: string) => ({ level: label }) };
  const journal = createJournal(
    pino({ level: "debug", base: null, timestamp: false, formatters }, { write }),
  );
  return { journal, lines };
}

/** What is told of a world's decisions, from its first sight on. */
async function told(spec: Record<string, unknown>, act: (world: World) => void): Promise<Line[]> {
  const { journal, lines } = journalWithLines();
  const world = new World(spec);
  world.onDecision = (decision) => journal.decided("default/vm", decision);
  await world.settle();
  act(world);
  await world.settle(1_000_000);
  return lines;
}

describe("the log tells of a decision", () => {
  test("with the resource, the attempt and the rule, and of a restart each step in words", async () => {
    const lines = await told({}, ({ api }) => api.apply({ restartGeneration: 1 }));
    const steps = lines.filter(({ attempt, level }) => attempt !== undefined && level !== "debug");
    assert.deepEqual(
      steps.map(({ rule, level }) => [rule, level]),
      [
        ["recordInDomain", "info"],
        ["signal", "info"],
        ["stopped", "info"],
        ["newBootRuns", "info"],
        ["concluded", "info"],
      ],
    );
    for (const { namespace, name, attempt, msg } of steps) {
      assert.deepEqual([namespace, name], ["default", "vm"]);
      assert.equal(attempt, steps[0]?.attempt);
      assert.ok(typeof msg === "string" && msg.length > 0);
    }
    const { result, method, reason } = steps.at(-1) ?? {};
    assert.deepEqual([result, method, reason], ["Succeeded", "Soft", "Restarted"]);
  });

  test("to rest or to wait only at level debug", async () => {
    const lines = await told({}, ({ api, hypervisor }) => {
      hypervisor.guest = { kind: "Deaf" };
      api.apply({ restartGeneration: 1 });
    });
    for (const { rule, level } of lines)
      if (rule === "nothingRequested" || rule === "waitForGuest") assert.equal(level, "debug");
  });

  for (const [what, level, rule, spec, act] of [
    ["a first look", "info", "firstSight", {}, () => {}],
    [
      "a revert",
      "info",
      "reverted",
      { restartGeneration: 5 },
      ({ api }: World) => api.apply({ restartGeneration: 1 }),
    ],
    ["a refusal", "info", "refused", {}, ({ api }: World) => api.annotate({ restart: "a\nb" })],
    [
      "a request that is blocked",
      "warn",
      "cannotHear",
      {},
      ({ api, hypervisor }: World) => {
        hypervisor.pause();
        api.apply({ restartGeneration: 1 });
      },
    ],
    [
      "a domain that is missing",
      "warn",
      "domainNotFound",
      {},
      ({ api, hypervisor }: World) => {
        hypervisor.exists = false;
        api.apply({ restartGeneration: 1 });
      },
    ],
    [
      "a failure",
      "error",
      "failed",
      { restartPolicy: { mode: "Soft" } },
      ({ api, hypervisor }: World) => {
        hypervisor.panic();
        api.apply({ restartGeneration: 1 });
      },
    ],
  ] as const)
    test(`about ${what} at level ${level}`, async () => {
      const lines = await told(spec, act);
      const line = lines.find((one) => one.rule === rule);
      assert.equal(line?.level, level);
      assert.notEqual(line.msg, "");
    });
});

describe("the log tells what a machine waits for", () => {
  /** The lines above level debug after some steps, in each of which the machine is tried three times. */
  async function linesOf(...steps: ((world: World) => void)[]): Promise<unknown[][]> {
    const { journal, lines } = journalWithLines();
    const world = new World();
    await world.settle();
    world.onDecision = (decision) => journal.decided("default/vm", decision);
    for (const step of steps) {
      step(world);
      for (let time = 0; time < 3; time += 1) {
        world.enqueue();
        await world.settle(1000);
      }
    }
    return lines
      .filter(({ level }) => level !== "debug")
      .map(({ level, reason, msg }) => [level, reason, msg]);
  }
  const goes = (message: string, reason: UnreachableReason) => (world: World) => {
    world.hypervisor.outage = { reason, message };
    world.hypervisor.reachable = false;
  };
  const isBack = ({ hypervisor }: World) => void (hypervisor.reachable = true);

  test("once, however often it is tried, and once that it is over", async () => {
    assert.deepEqual(await linesOf(goes("it hangs", "DomainUnresponsive"), isBack), [
      ["warn", "DomainUnresponsive", "it hangs"],
      ["info", "DomainUnresponsive", "over: it hangs"],
    ]);
  });

  test("again where it is something else", async () => {
    const steps = [goes("it is no XML", "DomainUnreadable"), goes("it is denied", "DomainUnreadable")];
    assert.deepEqual(await linesOf(...steps, isBack), [
      ["warn", "DomainUnreadable", "it is no XML"],
      ["warn", "DomainUnreadable", "it is denied"],
      ["info", "DomainUnreadable", "over: it is denied"],
    ]);
  });

  test("not of each machine at rest whose hypervisor is away: the connection's own line tells of all", async () => {
    assert.deepEqual(await linesOf(goes("no socket", "HypervisorUnreachable"), isBack), []);
  });
});

describe("the log tells of an effect", () => {
  const domain: Domain = {
    uuid: "00000000-0000-4000-8000-000000000001",
    name: "web",
    state: "Shutoff",
    reason: "Shutdown",
    connection: 1,
    lastStop: { epochMs: 0, monotonicMs: 1000 },
  };
  const done: Performance = {
    key: "default/vm",
    attempt: "a".repeat(32),
    domain,
    effect: { kind: "Start" },
    outcome: { kind: "Done" },
    began: { epochMs: 0, monotonicMs: 1004.321 },
    ended: { epochMs: 0, monotonicMs: 1010.5 },
  };

  test("how long it took, and of a start how long the guest had been off", () => {
    const { journal, lines } = journalWithLines();
    journal.performed(done);
    const { level, msg, effect, outcome, tookMs, offForMs } = lines[0] ?? {};
    assert.deepEqual([level, msg, effect, outcome], ["info", "started", "Start", "Done"]);
    assert.deepEqual([tookMs, offForMs], [6.18, 4.32]);
  });

  test("nothing about being off where nobody saw the guest stop, or where it is no start", () => {
    const { journal, lines } = journalWithLines();
    journal.performed({ ...done, domain: { ...domain, lastStop: undefined } });
    journal.performed({ ...done, effect: { kind: "Destroy" } });
    assert.deepEqual(
      lines.map((line) => "offForMs" in line),
      [false, false],
    );
  });

  for (const kind of ["Refused", "Unanswered", "NotSent"] as const)
    test(`that is ${kind} as a warning in libvirt's words`, () => {
      const { journal, lines } = journalWithLines();
      journal.performed({ ...done, outcome: { kind, message: "libvirt says no" } });
      assert.deepEqual(
        [lines[0]?.level, lines[0]?.msg, lines[0]?.outcome],
        ["warn", "libvirt says no", kind],
      );
    });
});
