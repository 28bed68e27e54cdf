import assert from "node:assert/strict";
import { test } from "node:test";
import { customResourceDefinition } from "../../crds/custom-resource.ts";
import { virtualMachineResource } from "../../crds/virtual-machine.ts";

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
