import { MalformedResponseError } from "./errors.ts";

/** One page of a list. */
export interface Page<T> {
  items: T[];
  /** The state of the collection that all pages of one list show. */
  resourceVersion: string;
  /** Where the next page starts; absent on the last one. */
  continue: string | undefined;
}

/** Reads a List object of the API. The items are not looked into. Throws MalformedResponseError. */
export function pageOf<T>(body: unknown, request: string): Page<T> {
  const { metadata, items } = fieldsOf(body);
  const { resourceVersion, continue: next } = fieldsOf(metadata);
  // Go writes an empty list as null. Without the field it is no list: believing it would delete everything.
  const list = items === null ? [] : items;
  if (typeof resourceVersion !== "string" || !Array.isArray(list)) {
    throw new MalformedResponseError(request, "UnexpectedShape", "the answer is not a list");
  }
  return {
    items: list as T[],
    resourceVersion,
    continue: typeof next === "string" && next !== "" ? next : undefined,
  };
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? { ...value } : {};
}
