import { z } from "zod";

/** The source of one CustomResourceDefinition. */
export interface CustomResource {
  group: string;
  version: string;
  kind: string;
  listKind: string;
  plural: string;
  singular: string;
  shortNames: string[];
  description: string;
  schema: z.ZodType;
  columns: PrinterColumn[];
}

/** A column of `kubectl get`; priority 1 shows it only with `-o wide`. */
export interface PrinterColumn {
  name: string;
  type: "string" | "integer" | "date";
  jsonPath: string;
  priority?: number;
}

/** A printer column of `kubectl get`. */
export function column(name: string, type: PrinterColumn["type"], jsonPath: string): PrinterColumn {
  return { name, type, jsonPath };
}

/** A printer column that only `kubectl get -o wide` shows. */
export function wideColumn(name: string, type: PrinterColumn["type"], jsonPath: string): PrinterColumn {
  return { name, type, jsonPath, priority: 1 };
}

/** CEL rules that the API server checks, each with the message that a refused manifest gets. */
export function rules(...pairs: [rule: string, message: string][]): Record<string, unknown> {
  return { "x-kubernetes-validations": pairs.map(([rule, message]) => ({ rule, message })) };
}

/** The CustomResourceDefinition manifest of a resource. */
export function customResourceDefinition(resource: CustomResource): Record<string, unknown> {
  const { group, version, kind, listKind, plural, singular, shortNames, description } = resource;
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: "Namespaced",
      names: { kind, listKind, plural, singular, shortNames },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: resource.columns,
          schema: { openAPIV3Schema: { description, ...structuralSchema(resource.schema) } },
        },
      ],
    },
  };
}

/**
 * A zod schema as a structural schema: JSON Schema less what the API server refuses. `additionalProperties: false`
 * goes because the API server prunes unknown fields itself.
 */
function structuralSchema(schema: z.ZodType): Record<string, unknown> {
  return z.toJSONSchema(schema, {
    target: "openapi-3.0",
    io: "input",
    reused: "inline",
    override: ({ jsonSchema, zodSchema }) => {
      delete jsonSchema.additionalProperties;
      if (jsonSchema.type !== "integer") return;
      jsonSchema.format = "int64";
      // zod writes JavaScript's own limits where the schema gives none: they are noise in `kubectl explain`.
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER && !hasMaximum(zodSchema)) delete jsonSchema.maximum;
    },
  });
}

/** Whether a schema, or the one that it wraps, states a maximum of its own. */
function hasMaximum({ _zod: { def } }: z.core.$ZodType): boolean {
  if (def.checks?.some(({ _zod }) => _zod.def.check === "less_than") === true) return true;
  return "innerType" in def && hasMaximum(def.innerType as z.core.$ZodType);
}
