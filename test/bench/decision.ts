/**
 * Measures one pass of the controller without its surroundings: decide() and computeStatus(), which are pure. Processor
 * time and allocated bytes of typical passes, and of copying the resource by structuredClone in the same rounds, which says
 * what a microsecond of this machine is worth.
 *
 *     npm run bench:decision
 */
import { randomBytes } from "node:crypto";
import { getHeapStatistics } from "node:v8";
import { afterEffect, questionFor, type Attempt } from "../../controller/attempt.ts";
import { decide } from "../../controller/decide.ts";
import type { Observation, Verdict } from "../../controller/decision.ts";
import { domainReference } from "../../controller/domain-reference.ts";
import { computeStatus } from "../../controller/status.ts";
import { historyLength, parseVirtualMachine, type VirtualMachine } from "../../crds/virtual-machine.ts";
import { ModelHypervisor } from "../simulation/domain.ts";
import { Timeline } from "../simulation/timeline.ts";
import { machine } from "./machine.ts";
import { quantile, table } from "./numbers.ts";

/** Passes before the first measurement: enough for V8 to have optimized what it will. */
const warmUp = 50_000;
/** Rounds go through all cases, so that a neighbour on the machine disturbs all of them alike. */
const rounds = 41;
const passesInRound = 5000;

interface Case {
  readonly name: string;
  readonly once: () => unknown;
  readonly nanoseconds: number[];
  readonly bytes: number[];
}

/** How often the resource was restarted before: as often as its history tells of. */
const restartsBefore = historyLength;

const isRest = ({ kind }: Verdict) => kind === "Rest";
const idle = await observed(restartsBefore, isRest);
const cases: Case[] = [
  passOf("idle resource, never restarted", await observed(0, isRest)),
  passOf("idle resource, ten restarts in its history", idle),
  passOf("request: the domain is to be marked", await observedNext(isEffect("Mark"))),
  passOf("signal: the guest is asked", await observedNext(isEffect("Shutdown"))),
  passOf("waiting for a deaf guest", await observedNext(({ kind }) => kind === "Wait")),
  passOf("timeout: the power is cut", await observedNext(isEffect("Destroy"))),
  passOf("the guest is off: start it", await observedNext(isEffect("Start"))),
  passOf("the new boot runs: put the result on record", await observedNext(isEffect("Settle"))),
  passOf("end: the result is told", await observedNext(({ kind }) => kind === "End")),
  caseOf("baseline: structuredClone of the idle resource", () => structuredClone(idle.virtualMachine)),
  caseOf("baseline: JSON of the idle resource and back", () =>
    JSON.parse(JSON.stringify(idle.virtualMachine)),
  ),
];

for (const { once } of cases) for (let pass = 0; pass < warmUp; pass += 1) once();
for (let round = 0; round < rounds; round += 1) for (const each of cases) measure(each);

const unit = quantile(cases[1]?.nanoseconds ?? [], 0.5);
console.log(
  [
    "One pass: decide() and computeStatus(), no I/O",
    ...machine(),
    `medians of ${rounds} rounds of ${passesInRound} passes; the resource has ${JSON.stringify(idle.virtualMachine).length} bytes of JSON`,
    "",
    ...table([
      ["pass", "CPU ns", "least", "bytes allocated", "ratio to idle"],
      ...cases.map(({ name, nanoseconds, bytes }) => [
        name,
        quantile(nanoseconds, 0.5).toFixed(0),
        Math.min(...nanoseconds).toFixed(0),
        quantile(bytes, 0.5).toFixed(0),
        (quantile(nanoseconds, 0.5) / unit).toFixed(2),
      ]),
    ]),
  ].join("\n"),
);

function caseOf(name: string, once: () => unknown): Case {
  return { name, once, nanoseconds: [], bytes: [] };
}

function passOf(name: string, observation: Observation): Case {
  return caseOf(name, () => computeStatus(observation, decide(observation)));
}

/**
 * Processor time of all threads, V8's own among them: a neighbour on the machine does not count. V8 tells every byte
 * that it hands out, whatever the garbage collector takes back meanwhile.
 */
function measure({ once, nanoseconds, bytes }: Case): void {
  const bytesBefore = getHeapStatistics().total_allocated_bytes;
  const before = process.cpuUsage();
  for (let pass = 0; pass < passesInRound; pass += 1) once();
  const { user, system } = process.cpuUsage(before);
  nanoseconds.push(((user + system) * 1000) / passesInRound);
  bytes.push((getHeapStatistics().total_allocated_bytes - bytesBefore) / passesInRound);
}

function isEffect(effect: string): (verdict: Verdict) => boolean {
  return (verdict) => verdict.kind === "Act" && verdict.effect.kind === effect;
}

/** What is seen in the restart after those of the history, where the controller decides what fits. */
async function observedNext(fits: (verdict: Verdict) => boolean): Promise<Observation> {
  return observed(restartsBefore + 1, fits);
}

/**
 * Restarts a deaf guest so often, by the controller's own functions on the model of a domain, and answers what is seen
 * in the last of these restarts, or after it, where the controller decides what fits.
 */
async function observed(restarts: number, fits: (verdict: Verdict) => boolean): Promise<Observation> {
  const timeline = new Timeline();
  const hypervisor = new ModelHypervisor(timeline, "vm");
  hypervisor.guest = { kind: "Deaf" };
  hypervisor.start();
  let virtualMachine = resource(0, {});
  let attempt: Attempt | undefined;
  for (;;) {
    const { spec, status } = virtualMachine;
    const reference = domainReference(virtualMachine);
    const isLast = spec.restartGeneration === restarts;
    const isServed = status.observedRestartGeneration === spec.restartGeneration;
    const domain = isServed
      ? await hypervisor.glance(reference)
      : await hypervisor.look(
          reference,
          questionFor(attempt, spec.restartPolicy, { volumes: [] }, timeline.now()),
        );
    const [now, nonce] = [timeline.now(), randomBytes(16).toString("hex")];
    const observation: Observation = {
      virtualMachine,
      stored: status,
      cluster: "cluster",
      domain,
      definition: { kind: "None" },
      plugInsFromMs: new Map(),
      rivals: [],
      isOrphaned: false,
      attempt,
      predecessorGoneAtMs: Number.NEGATIVE_INFINITY,
      now,
      nonce,
    };
    const decision = decide(observation);
    const { verdict } = decision;
    if (isLast && fits(verdict)) return observation;
    attempt = verdict.kind === "End" ? undefined : decision.attempt;
    const generation = (spec.restartGeneration ?? 0) + (verdict.kind === "Rest" ? 1 : 0);
    virtualMachine = resource(generation, computeStatus(observation, decision));
    if (verdict.kind === "Act" && attempt !== undefined && domain.kind === "Present") {
      const outcome = await hypervisor.perform(domain.domain, verdict.effect);
      attempt = afterEffect(attempt, verdict.effect, outcome, now, timeline.now());
    } else if (verdict.kind === "Wait") timeline.step(verdict.untilMs ?? 0);
  }
}

/** A resource as it comes from the API server. */
function resource(restartGeneration: number, status: object): VirtualMachine {
  const metadata = {
    namespace: "default",
    name: "vm",
    uid: "4d3f0f0e-9f2b-4c55-8c9e-3a5b9f6b7a10",
    resourceVersion: "1",
    generation: restartGeneration + 1,
    creationTimestamp: "2026-01-01T00:00:00Z",
  };
  const parsed = parseVirtualMachine(
    JSON.parse(JSON.stringify({ metadata, spec: { restartGeneration }, status })) as object,
  );
  if (parsed.kind === "Invalid") throw new Error(parsed.message);
  return parsed.virtualMachine;
}
