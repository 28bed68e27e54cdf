import type { KubernetesClient, RequestOptions } from "./client.ts";
import { ApiError, hasReason } from "./errors.ts";
import type { KubernetesObject, ResourceType } from "./resource.ts";

/** How a status write ended, where the API server had its say. */
export type StatusOutcome<T> =
  /** `object` is as the API server keeps it now. A status that changes nothing is Written too, without a new resourceVersion. */
  | { kind: "Written"; object: T }
  /** The object is not the one that the status was computed from, or not in that state: look again. */
  | { kind: "Conflict" }
  /** There is no such object any more. */
  | { kind: "Gone" }
  /** The status breaks the schema: writing it again cannot help. The message says which field. */
  | { kind: "Rejected"; message: string };

/** How a status write is done. */
export interface StatusWriteOptions extends RequestOptions {
  /** Who owns the status in managedFields. */
  fieldManager?: string | undefined;
}

/**
 * Replaces the status of an object and nothing else of it, if the object is still in the state that
 * the status was computed from.
 *
 * The request carries the identity of the object, its resourceVersion and the status: the API server
 * takes nothing but the status from a PUT of this subresource, so the object may come from a trimmed
 * cache. Another object under the same name is a Conflict: its UID is part of the guard.
 *
 * Rejects as KubernetesClient does where the API server said something else, or nothing.
 */
export async function writeStatus<T extends KubernetesObject & { status?: unknown }>(
  client: KubernetesClient,
  type: ResourceType,
  object: KubernetesObject,
  status: NonNullable<T["status"]>,
  options: StatusWriteOptions = {},
): Promise<StatusOutcome<T>> {
  const { name, namespace, uid, resourceVersion } = object.metadata;
  // Without it the API server would overwrite whatever is there.
  if (resourceVersion === undefined) throw new TypeError("a guarded status write needs a resourceVersion");
  const body = { metadata: { name, namespace, uid, resourceVersion }, status };
  try {
    return {
      kind: "Written",
      object: (await client.replace<KubernetesObject>(type, body, {
        ...options,
        subresource: "status",
      })) as T,
    };
  } catch (error) {
    if (hasReason(error, "Conflict")) return { kind: "Conflict" };
    // The same status code without a name means that the resource type has no status subresource.
    if (hasReason(error, "NotFound") && error.about?.name === name) return { kind: "Gone" };
    if (error instanceof ApiError && error.code === 422)
      return { kind: "Rejected", message: error.explanation };
    throw error;
  }
}
