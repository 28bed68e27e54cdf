/** What holds for every decision, whatever was observed: the pure functions on observations that nobody thought of. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { beginAttempt, type Attempt } from "../../controller/attempt.ts";
import { runningBoot } from "../../controller/boot.ts";
import { decide } from "../../controller/decide.ts";
import type { Observation } from "../../controller/decision.ts";
import { disturbsGuest } from "../../controller/disturbance.ts";
import { isGoingDown } from "../../controller/obstacle.ts";
import type { Finding } from "../../controller/finding.ts";
import {
  hasMarks,
  type Definition,
  type Domain,
  type Instant,
  type NextStart,
  type RequestMark,
} from "../../controller/ports.ts";
import { computeStatus } from "../../controller/status.ts";
import {
  restartMethods,
  restartMode,
  restartResults,
  restartStages,
  type RestartRecord,
} from "../../crds/restart.ts";
import { restartPolicy, signals } from "../../crds/restart-policy.ts";
import { formatTimestamp } from "../../crds/timestamp.ts";
import { domainStates, parseVirtualMachine, type VirtualMachine } from "../../crds/virtual-machine.ts";

const nowMs = Date.UTC(2026, 0, 1);
const now: Instant = { epochMs: nowMs, monotonicMs: 10_000_000 };
const names = ["a".repeat(32), "b".repeat(32), "c".repeat(32)] as const;
const uuid = "00000000-0000-4000-8000-000000000001";

const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const agoMs = fc.integer({ min: 0, max: 1_000_000 });
const instant: fc.Arbitrary<Instant> = agoMs.map((ms) => ({
  epochMs: now.epochMs - ms,
  monotonicMs: now.monotonicMs - ms,
}));
const timestamp = agoMs.map((ms) => formatTimestamp(nowMs - ms));
const token = fc.constantFrom(
  "a",
  "b",
  "",
  "x\ny",
  "2025-12-31T00:00:00Z",
  "2026-01-01T00:00:00Z",
  "x".repeat(300),
);
const usableToken = fc.constantFrom("a", "b", "2025-12-31T00:00:00Z", "2026-01-01T00:00:00Z");
const generation = fc.integer({ min: 0, max: 4 });
const mode = fc.constantFrom(...restartMode.options);

const request = fc.record({
  restartGeneration: maybe(generation),
  restartToken: maybe(usableToken),
  joinedTokens: maybe(fc.array(usableToken, { maxLength: 2 })),
  mode: maybe(mode),
  requestedAt: timestamp,
});

const reasons = [
  "Unknown",
  "Booted",
  "User",
  "IOError",
  "Migration",
  "PostCopy",
  "Save",
  "ShuttingDown",
  "Crashed",
  "Panicked",
  "Shutdown",
  "Destroyed",
  "Saved",
  "Migrated",
  "FromSnapshot",
  "Unpaused",
  "Restored",
];
const domain: fc.Arbitrary<Domain> = fc
  .record({
    off: fc.boolean(),
    id: fc.integer({ min: 1, max: 3 }),
    state: fc.constantFrom(...domainStates.filter((state) => state !== "Shutoff")),
    reason: fc.constantFrom(...reasons),
    lastStop: maybe(instant),
    lastReboot: maybe(instant),
    agent: maybe(fc.constantFrom("Connected", "Disconnected")),
    connection: fc.integer({ min: 1, max: 2 }),
  })
  .map(({ off, id, state, ...rest }) => ({
    ...rest,
    uuid,
    name: "vm",
    id: off ? undefined : id,
    state: off ? "Shutoff" : state,
    agent: off ? undefined : rest.agent,
  }));

const mark: fc.Arbitrary<RequestMark> = fc.record({
  attempt: fc.constantFrom(...names),
  cluster: fc.constantFrom("cluster", "another"),
  resource: fc.constantFrom("uid", "uid-of-another"),
  owner: fc.constantFrom("default/vm", "default/other"),
  request,
  servedBefore: fc.record({
    observedRestartGeneration: maybe(generation),
    observedRestartToken: maybe(usableToken),
  }),
  wasOff: maybe(fc.boolean()),
  inPlace: maybe(fc.boolean()),
  bootId: maybe(fc.constantFrom("boot-1", "boot-2")),
  startedAtMs: fc.constant(nowMs - 5000),
  result: maybe(fc.constantFrom(...restartResults)),
  method: maybe(fc.constantFrom(...restartMethods)),
});

const pool = { kind: "StartPool", pool: "images" } as const;
const finding: fc.Arbitrary<Finding> = fc.record({
  reason: fc.constantFrom("DiskMissing" as const, "PoolInactive" as const),
  path: fc.constant("devices/disk[1]/source"),
  message: fc.constantFrom("it is not there", ""),
  remedy: fc.constant("mend it"),
  repair: maybe(fc.constant(pool)),
  disk: maybe(fc.constant("vdb")),
});

const next: fc.Arbitrary<NextStart> = fc.record({
  isToBeDefined: fc.boolean(),
  keepsPrevious: fc.boolean(),
  changes: maybe(fc.constantFrom([], ["memory 2 GiB -> 4 GiB"])),
  absentDisks: fc.constantFrom([], ["vdb"]),
  findings: maybe(fc.array(finding, { maxLength: 2 })),
});

const seen: fc.Arbitrary<Observation["domain"]> = fc.oneof(
  fc.record({
    kind: fc.constant("Unreachable" as const),
    reason: fc.constantFrom(
      "HypervisorUnreachable" as const,
      "DomainUnresponsive" as const,
      "DomainUnreadable" as const,
    ),
    message: fc.string(),
    retryInMs: maybe(fc.nat()),
  }),
  fc.record({ kind: fc.constant("Missing" as const), next: maybe(next) }),
  fc.record({ kind: fc.constant("Present" as const), domain }),
  {
    arbitrary: fc.record({
      kind: fc.constant("Present" as const),
      domain,
      persistent: fc.boolean(),
      marks: fc.record({ bootMark: fc.boolean(), live: maybe(mark), next: maybe(mark) }),
      job: maybe(
        fc.record({
          kind: fc.constantFrom("Migration" as const, "Other" as const),
          what: fc.constant("a job"),
        }),
      ),
      storageProblem: maybe(fc.constant("no such file")),
      next: maybe(next),
      agent: maybe(fc.record({ bootId: maybe(fc.constantFrom("boot-1", "boot-2")) })),
    }),
    weight: 20,
  },
);

const policy = fc
  .record({
    mode,
    soft: fc.record({
      via: fc.constantFrom("Shutdown", "Reboot"),
      signals: fc.uniqueArray(fc.constantFrom(...signals), { minLength: 1 }),
      timeoutSeconds: fc.constantFrom(10, 120),
    }),
    hard: fc.record({ via: fc.constantFrom("PowerCycle", "Reset") }),
    deadlineSeconds: maybe(fc.constantFrom(1, 600)),
    minIntervalSeconds: fc.constantFrom(0, 600),
    whenPaused: fc.constantFrom("Block", "Force"),
    whenBusy: fc.constantFrom("Block", "Force"),
    whenSaved: fc.constantFrom("Block", "Discard"),
    onUnavailableVolume: fc.constantFrom("Fail", "Detach"),
    marks: fc.constantFrom("Domain", "None"),
    verifyGuest: maybe(fc.constant({ timeoutSeconds: 60 })),
  })
  .map((fields) => restartPolicy.parse(fields));

const record: fc.Arbitrary<RestartRecord> = fc.record({
  id: maybe(fc.constantFrom(...names)),
  request,
  result: fc.constantFrom(...restartResults),
  method: maybe(fc.constantFrom(...restartMethods)),
  evidence: fc.constant([]),
  reason: fc.constantFrom(
    "Restarted",
    "GuestShutdownTimedOut",
    "DestroyRefused",
    "DeadlineExceeded",
    "NoMarks",
  ),
  message: fc.constant("it ended"),
  startedAt: timestamp,
  endedAt: timestamp,
});

const attemptInStatus = fc.record({
  id: fc.constantFrom(...names),
  request,
  mode,
  stage: fc.constantFrom(...restartStages),
  stageStartedAt: timestamp,
  startedAt: timestamp,
  recordedIn: maybe(fc.constantFrom("Domain", "Status")),
  forcedBecause: maybe(fc.constant("it was deaf")),
});

const annotation = (name: string, value: fc.Arbitrary<string>) =>
  maybe(value).map((one) => (one === undefined ? {} : { [`warmboot.dev/${name}`]: one }));

const virtualMachine: fc.Arbitrary<VirtualMachine> = fc
  .record({
    annotations: fc
      .tuple(
        annotation("restart", token),
        annotation("restart-mode", fc.constantFrom("Hard", "Soft", "Fast")),
        annotation("cancel", fc.constantFrom("a", "1")),
        annotation("skip-interval", fc.constantFrom("a", "1")),
      )
      .map((all) => Object.assign({}, ...all) as Record<string, string>),
    restartGeneration: maybe(generation),
    suspend: fc.boolean(),
    policy,
    status: fc.record({
      observedRestartGeneration: fc.option(generation, { nil: undefined, freq: 8 }),
      observedRestartToken: maybe(usableToken),
      request: maybe(request),
      attempt: maybe(attemptInStatus),
      history: maybe(fc.array(record, { maxLength: 3 })),
    }),
  })
  .map(({ annotations, restartGeneration, suspend, policy: chosen, status }) => {
    const parsed = parseVirtualMachine({
      metadata: {
        namespace: "default",
        name: "vm",
        uid: "uid",
        resourceVersion: "1",
        generation: 1,
        creationTimestamp: formatTimestamp(0),
        annotations,
      },
      spec: { restartGeneration, suspend, restartPolicy: chosen },
      status: { ...status, lastRestart: status.history?.[0] },
    });
    if (parsed.kind === "Invalid") throw new Error(parsed.message);
    return parsed.virtualMachine;
  });

/** An attempt as this process may know it: any of what an attempt can remember, as far as that can come together. */
function attemptFor({ spec }: VirtualMachine): fc.Arbitrary<Attempt> {
  return fc
    .record({
      id: fc.constantFrom(...names),
      request,
      mode,
      stage: fc.constantFrom(...restartStages),
      marked: fc.boolean(),
      touched: fc.boolean(),
      domainId: maybe(fc.integer({ min: 1, max: 3 })),
      connection: fc.integer({ min: 1, max: 2 }),
      inPlace: fc.boolean(),
      bootId: maybe(fc.constant("boot-1")),
      unproven: fc.boolean(),
      unmarkable: fc.boolean(),
      isInherited: fc.boolean(),
      method: maybe(fc.constantFrom(...restartMethods)),
      isForeign: fc.boolean(),
      markedAt: maybe(instant),
      askedAt: maybe(instant),
      signalRefusal: maybe(fc.constant("monitor is gone")),
      firstSignal: maybe(instant),
      lastSignal: maybe(instant),
      lastSignalBy: maybe(fc.constantFrom(...signals)),
      agentRefused: fc.boolean(),
      wokenAt: maybe(instant),
      resumedAt: maybe(instant),
      goingDownSince: maybe(instant),
      resetAt: maybe(instant),
      verifyingSince: maybe(instant),
      preflightPassedAt: maybe(instant),
      repairs: fc.constantFrom(
        [],
        [{ repair: pool, at: now }],
        [{ repair: pool, at: { ...now, monotonicMs: now.monotonicMs - 100_000 }, refusal: "no such device" }],
      ),
      leftOut: fc.constantFrom([], [{ disk: "vdb", reason: "DiskMissing", message: "it is not there" }]),
      definition: maybe(fc.constantFrom("Applied" as const, "RolledBack" as const)),
      started: maybe(instant),
      forcedBecause: maybe(fc.constant("it was deaf")),
      released: fc.boolean(),
      resetRefused: maybe(fc.boolean()),
      adoptedResult: maybe(fc.constantFrom(...restartResults)),
      settled: fc.boolean(),
      toldResult: fc.option(fc.constantFrom(...restartResults), { nil: undefined, freq: 1 }),
    })
    .map(({ touched, ...fields }) => ({
      ...beginAttempt(fields.id, fields.request, spec.restartPolicy, now),
      ...fields,
      touched: touched || fields.marked,
    }));
}

const observation: fc.Arbitrary<Observation> = virtualMachine.chain((resource) =>
  fc.record({
    virtualMachine: fc.constant(resource),
    stored: fc.constantFrom(resource.status, { ...resource.status, attempt: undefined }),
    cluster: fc.constant("cluster"),
    predecessorGoneAtMs: fc.constantFrom(Number.NEGATIVE_INFINITY, now.monotonicMs + 1000),
    domain: seen,
    definition: fc.constantFrom<Definition[]>(
      { kind: "None" },
      { kind: "Given", xml: "<domain/>" },
      { kind: "Unavailable", message: "there is no ConfigMap" },
    ),
    plugInsFromMs: fc.constantFrom(new Map(), new Map([["vdb", now.monotonicMs + 1]])),
    rivals: fc.constantFrom([], [{ ...resource, metadata: { ...resource.metadata, uid: "uid-0" } }]),
    isOrphaned: fc.boolean(),
    attempt: maybe(attemptFor(resource)),
    now: fc.constant(now),
    nonce: fc.constant("d".repeat(32)),
  }),
);

const runs = { numRuns: 500 };

/** Every observation, with the decision about it; one that throws fails the property. */
function holds(
  sentence: string,
  property: (observed: Observation, decision: ReturnType<typeof decide>) => void,
) {
  test(sentence, () => {
    fc.assert(
      fc.property(observation, (observed) => property(observed, decide(observed))),
      runs,
    );
  });
}

describe("every decision", () => {
  holds("is made, by a rule with a name, and is the same when it is made again", (observed, decision) => {
    assert.notEqual(decision.rule, "");
    assert.deepEqual(decide(observed), decision);
  });

  holds("has evidence where it is a success", (_observed, { verdict }) => {
    if (verdict.kind === "End" && verdict.result === "Succeeded") assert.notEqual(verdict.evidence.length, 0);
  });

  holds(
    "disturbs a guest only for an attempt on record, whose old boot runs",
    ({ domain: seenDomain }, { verdict, attempt }) => {
      if (verdict.kind !== "Act" || verdict.effect.kind === "Mark" || !disturbsGuest(verdict.effect)) return;
      assert.equal(attempt?.marked, true);
      assert.ok(hasMarks(seenDomain));
      assert.equal(runningBoot(attempt, seenDomain.domain, seenDomain.marks), "Old");
      assert.ok(verdict.effect.kind === "Destroy" || !isGoingDown(seenDomain.domain));
    },
  );

  holds(
    "starts only a domain on record that is off, and lives nowhere else",
    ({ domain: seenDomain, virtualMachine: { spec } }, { verdict, attempt }) => {
      if (verdict.kind !== "Act" || verdict.effect.kind !== "Start") return;
      assert.equal(attempt?.marked, true);
      assert.equal(attempt.started, undefined);
      assert.ok(seenDomain.kind === "Present");
      const { id, reason } = seenDomain.domain;
      assert.equal(id, undefined);
      assert.notEqual(reason, "Migrated");
      assert.ok(reason !== "Saved" || spec.restartPolicy.whenSaved === "Discard");
    },
  );

  holds("cuts no power and resets nothing in mode Soft", (_observed, { verdict, attempt }) => {
    if (verdict.kind === "Act" && attempt?.mode === "Soft")
      assert.doesNotMatch(verdict.effect.kind, /Destroy|Reset/);
  });

  holds("leaves alone what is migrating", ({ domain: seenDomain }, { verdict }) => {
    if (!hasMarks(seenDomain) || seenDomain.domain.id === undefined) return;
    if (seenDomain.job?.kind !== "Migration" || verdict.kind !== "Act") return;
    assert.match(verdict.effect.kind, /Release|Settle/);
  });

  holds("that waits for a moment waits for one that is still to come", (_observed, { verdict }) => {
    if (verdict.kind !== "Wait" && verdict.kind !== "Blocked" && verdict.kind !== "Unavailable") return;
    assert.ok(verdict.untilMs === undefined || verdict.untilMs >= now.monotonicMs);
  });
});

describe("every status", () => {
  holds(
    "says whether it is ready, and not both that it goes on and that somebody has to act",
    (observed, decision) => {
      const conditions = computeStatus(observed, decision).conditions ?? [];
      const types = conditions.map(({ type }) => type);
      assert.equal(types.filter((type) => type === "Ready").length, 1);
      assert.equal(new Set(types).size, types.length);
      assert.ok(!(types.includes("Reconciling") && types.includes("Stalled")));
      const ready = conditions.find(({ type }) => type === "Ready")?.status;
      assert.equal(ready === "True", !types.includes("Reconciling") && !types.includes("Stalled"));
    },
  );

  holds("is the same when it is computed again", (observed, decision) => {
    assert.deepEqual(computeStatus(observed, decision), computeStatus(observed, decision));
  });

  holds("can be read again by parseVirtualMachine, and loses nothing by it", (observed, decision) => {
    const status: unknown = JSON.parse(JSON.stringify(computeStatus(observed, decision)));
    const { metadata, spec } = observed.virtualMachine;
    const parsed = parseVirtualMachine({ metadata, spec, status });
    assert.ok(parsed.kind === "Valid");
    assert.deepEqual(JSON.parse(JSON.stringify(parsed.virtualMachine.status)), status);
  });

  holds("takes no served generation back but to what the resource says", (observed, decision) => {
    const before = observed.virtualMachine.status.observedRestartGeneration ?? 0;
    const after = computeStatus(observed, decision).observedRestartGeneration ?? 0;
    assert.ok(after >= before || after === observed.virtualMachine.spec.restartGeneration);
  });
});
