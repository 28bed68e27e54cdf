import assert from "node:assert/strict";
import { test } from "node:test";
import { customResourceDefinition } from "../../crds/custom-resource.ts";
import { parseVirtualMachine, virtualMachineResource } from "../../crds/virtual-machine.ts";

interface Schema {
  type?: string;
  description?: string;
  default?: unknown;
  properties?: Record<string, Schema>;
  items?: Schema;
}

const manifest = customResourceDefinition(virtualMachineResource) as {
  spec: { versions: [{ schema: { openAPIV3Schema: Schema } }] };
};
const root = manifest.spec.versions[0].schema.openAPIV3Schema;

/** Every field below a schema with its path, as `kubectl explain` would name it. */
function fields(schema: Schema, path: string): [path: string, schema: Schema][] {
  const here = Object.entries(schema.properties ?? {}).flatMap(([name, field]): [string, Schema][] => [
    [`${path}.${name}`, field],
    ...fields(field, `${path}.${name}`),
  ]);
  return schema.items === undefined ? here : [...here, ...fields(schema.items, `${path}[]`)];
}

test("every field teaches: it has a description", () => {
  const silent = fields(root, "virtualmachine")
    .filter(([, field]) => (field.description ?? "").length < 10)
    .map(([path]) => path);
  assert.deepEqual(silent, []);
});

test("every field has a type, as a structural schema requires", () => {
  const untyped = fields(root, "virtualmachine")
    .filter(([, field]) => field.type === undefined)
    .map(([path]) => path);
  assert.deepEqual(untyped, []);
});

test("a resource that nobody has looked at yet is not taken for a current one: observedGeneration is -1", () => {
  assert.deepEqual(root.properties?.["status"]?.default, {});
  assert.equal(root.properties["status"].properties?.["observedGeneration"]?.default, -1);
});

test("what a newer controller has put into the status, and this one does not know, is left out", () => {
  const at = "2026-01-01T00:00:00.000Z";
  const record = {
    request: { requestedAt: at },
    evidence: [],
    reason: "R",
    message: "",
    startedAt: at,
    endedAt: at,
  };
  const condition = { observedGeneration: 1, lastTransitionTime: at, reason: "R", message: "" };
  const parsed = parseVirtualMachine({
    metadata: {
      namespace: "n",
      name: "v",
      uid: "u",
      resourceVersion: "1",
      generation: 1,
      creationTimestamp: at,
    },
    status: {
      observedRestartGeneration: 3,
      brandNew: true,
      attempt: { stage: "Levitating" },
      history: [
        { ...record, result: "Transcended" },
        { ...record, result: "Succeeded" },
      ],
      conditions: [{ ...condition, type: "Enlightened", status: "True" }],
    },
  });
  assert.ok(parsed.kind === "Valid", "message" in parsed ? parsed.message : "");
  const { status } = parsed.virtualMachine;
  assert.equal(status.observedRestartGeneration, 3);
  assert.equal(status.attempt, undefined);
  assert.deepEqual(
    status.history?.map(({ result }) => result),
    ["Succeeded"],
  );
  assert.equal(status.conditions?.[0]?.type, "Enlightened");
});

test("a status that is no object at all is none", () => {
  const metadata = {
    namespace: "n",
    name: "v",
    uid: "u",
    resourceVersion: "1",
    generation: 1,
    creationTimestamp: "2026-01-01T00:00:00.000Z",
  };
  const parsed = parseVirtualMachine({ metadata, status: "nonsense" });
  assert.ok(parsed.kind === "Valid");
  assert.equal(parsed.virtualMachine.status.observedGeneration, -1);
});
