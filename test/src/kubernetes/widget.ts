import type { KubernetesObject } from "../../../src/kubernetes/resource.ts";

/** A resource type that exists for the tests only. */
export const TYPE = { group: "test.warmboot.dev", version: "v1", kind: "Widget", plural: "widgets" };
export const CRDS = {
  group: "apiextensions.k8s.io",
  version: "v1",
  kind: "CustomResourceDefinition",
  plural: "customresourcedefinitions",
};
export const NAMESPACES = { group: "", version: "v1", kind: "Namespace", plural: "namespaces" };

/** An object of {@link TYPE}. */
export interface Widget extends KubernetesObject {
  spec: { size: number };
  status?: { phase?: string; observedGeneration?: number };
}

/** Its definition: a status of its own, and a schema with something to break in both parts. */
export const CRD = {
  metadata: { name: "widgets.test.warmboot.dev" },
  spec: {
    group: TYPE.group,
    scope: "Namespaced",
    names: { plural: "widgets", singular: "widget", kind: "Widget" },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        subresources: { status: {} },
        schema: {
          openAPIV3Schema: {
            type: "object",
            required: ["spec"],
            properties: {
              spec: {
                type: "object",
                required: ["size"],
                properties: { size: { type: "integer", minimum: 1 } },
              },
              status: {
                type: "object",
                properties: {
                  observedGeneration: { type: "integer", default: -1 },
                  phase: { type: "string", enum: ["A", "B"] },
                },
              },
            },
          },
        },
      },
    ],
  },
};
