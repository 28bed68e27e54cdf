import assert from "node:assert/strict";
import { test } from "node:test";
import type { DomainReference, Hypervisor } from "../../controller/ports.ts";
import { ModelHypervisor } from "./domain.ts";
import { Fleet } from "./fleet.ts";
import { Timeline } from "./timeline.ts";

const resources = 10_000;
const workers = 64;

/** Deaf guests, each a model of its own; counts the calls that are made about all of them. */
class DeafGuests implements Hypervisor {
  calls = 0;
  inFlight = 0;
  readonly #models = new Map<string, ModelHypervisor>();

  constructor(timeline: Timeline) {
    for (let index = 0; index < resources; index += 1) {
      const model = new ModelHypervisor(timeline, `vm-${index}`);
      model.guest = { kind: "Deaf" };
      model.start();
      this.#models.set(`vm-${index}`, model);
    }
  }

  glance: Hypervisor["glance"] = (reference, comparison) =>
    this.#call(() => this.model(reference).glance(reference, comparison));
  look: Hypervisor["look"] = (reference, question) =>
    this.#call(() => this.model(reference).look(reference, question));
  perform: Hypervisor["perform"] = (domain, effect) =>
    this.#call(() => this.model({ kind: "Name", name: domain.name }).perform(domain, effect));
  repair: Hypervisor["repair"] = () => Promise.resolve({ kind: "Done" });
  defineNew: Hypervisor["defineNew"] = (reference) => this.#call(() => this.model(reference).defineNew());

  model(reference: DomainReference): ModelHypervisor {
    const model = this.#models.get(reference.kind === "Name" ? reference.name : "");
    if (model === undefined) throw new RangeError("there is no such domain");
    return model;
  }

  /** A call takes a turn of the event loop, as an answer of libvirt does. */
  async #call<T>(call: () => Promise<T>): Promise<T> {
    this.calls += 1;
    this.inFlight += 1;
    await new Promise((resolve) => setImmediate(resolve));
    this.inFlight -= 1;
    return call();
  }
}

function activeTimers(): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length;
}

test("10,000 attempts that wait for deaf guests hold one queue entry each and one timer in all", async () => {
  const timeline = new Timeline();
  const hypervisor = new DeafGuests(timeline);
  const clock = { now: () => timeline.now(), nonce: () => crypto.randomUUID().replaceAll("-", "") };
  const timersBefore = activeTimers();
  {
    await using fleet = new Fleet({ resources, hypervisor, clock, workers });
    await fleet.settle();
    assert.equal(fleet.queue.delayed, 0);
    assert.equal(activeTimers(), timersBefore, "what is at rest needs no timer at all");

    fleet.requestAll("now");
    await fleet.settle();
    assert.equal(fleet.mostWorking, workers, "a pass needs a worker");
    assert.equal(fleet.reconciler.attempts, resources);
    for (let index = 0; index < resources; index += 1) {
      assert.equal(fleet.resource(index).status.attempt?.stage, "ShuttingDown");
    }
    assert.equal(fleet.queue.delayed, resources);
    assert.equal(fleet.queue.working, 0, "waiting needs none");
    assert.equal(fleet.queue.length, 0);
    assert.equal(hypervisor.inFlight, 0);
    assert.equal(activeTimers(), timersBefore + 1);

    const callsBefore = hypervisor.calls;
    hypervisor.model({ kind: "Name", name: "vm-7000" }).stop("Shutdown");
    await fleet.settle(7000);
    assert.equal(fleet.resource(7000).status.lastRestart?.result, "Succeeded");
    assert.equal(fleet.reconciler.attempts, resources - 1);
    assert.ok(hypervisor.calls < callsBefore + 20, "the others are not asked for when one guest goes off");
    assert.equal(activeTimers(), timersBefore + 1);
  }
  assert.equal(activeTimers(), timersBefore, "the end of the controller takes the timer along");
});
