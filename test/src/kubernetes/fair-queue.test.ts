import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { FairQueue } from "../../../src/kubernetes/fair-queue.ts";

interface Item {
  readonly flow: string;
  readonly order: number;
}

/** Pushes of one of a few flows, and shifts. */
const steps = fc.array(fc.constantFrom("a", "b", "c", "shift", "shift"), { maxLength: 200 });

test("What waits is handed out once, that of one flow in its order, and no flow has two turns while another waits", () => {
  fc.assert(
    fc.property(steps, (todo) => {
      const queue = new FairQueue<Item>(({ flow }) => flow);
      /** Of each flow what waits, and how often others were served since it last was or began to wait. */
      const waiting = new Map<string, { items: Item[]; passedOver: Map<string, number> }>();
      for (const [order, step] of todo.entries()) {
        if (step === "shift") {
          const item = queue.shift();
          const waits = [...waiting.values()].some(({ items }) => items.length > 0);
          assert.equal(item !== undefined, waits);
          if (item === undefined) continue;
          assert.equal(waiting.get(item.flow)?.items.shift(), item);
          for (const [flow, { items, passedOver }] of waiting) {
            if (flow === item.flow || items.length === 0) passedOver.clear();
            else {
              passedOver.set(item.flow, (passedOver.get(item.flow) ?? 0) + 1);
              assert.ok((passedOver.get(item.flow) ?? 0) <= 1, `${item.flow} twice while ${flow} waited`);
            }
          }
        } else {
          const item = { flow: step, order };
          const flow = waiting.get(step) ?? { items: [], passedOver: new Map<string, number>() };
          flow.items.push(item);
          waiting.set(step, flow);
          queue.push(item);
        }
        const total = [...waiting.values()].reduce((sum, { items }) => sum + items.length, 0);
        assert.equal(queue.length, total);
      }
    }),
  );
});

test("A queue that was cleared has nothing, and takes what comes then", () => {
  const queue = new FairQueue<string>((item) => item);
  queue.push("a");
  queue.push("b");
  queue.clear();
  assert.equal(queue.shift(), undefined);
  queue.push("a");
  assert.deepEqual([queue.shift(), queue.shift(), queue.length], ["a", undefined, 0]);
});
