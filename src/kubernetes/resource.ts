/** The metadata that this adapter reads of any object; a caller's own type may state more. */
export interface ObjectMeta {
  name: string;
  /** Absent on cluster-scoped objects. */
  namespace?: string | undefined;
  /** Given by the API server; a new one means a new object, even under the same name. */
  uid?: string | undefined;
  /** Given by the API server; see {@link compareResourceVersions}. */
  resourceVersion?: string | undefined;
  generation?: number | undefined;
  labels?: Record<string, string> | undefined;
  annotations?: Record<string, string> | undefined;
  deletionTimestamp?: string | undefined;
}

/** What every object of the Kubernetes API has in common. */
export interface KubernetesObject {
  apiVersion?: string | undefined;
  kind?: string | undefined;
  metadata: ObjectMeta;
}

/** Which kind of object a request is about: what a client must know to write its URL and its type. */
export interface ResourceType {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  /** The name in URLs, such as "virtualmachines". */
  readonly plural: string;
}

/** Which object of a kind. */
export interface ObjectReference {
  readonly name: string;
  /** Left out for cluster-scoped objects. */
  readonly namespace?: string | undefined;
}

/** The value of `apiVersion` for a resource type: "v1" or "group/version". */
export function apiVersionOf(type: Pick<ResourceType, "group" | "version">): string {
  return type.group === "" ? type.version : `${type.group}/${type.version}`;
}

/**
 * The URL path of a collection, an object or a subresource of an object.
 * Every part is percent-encoded: a name can neither leave its place in the path nor add a query.
 */
export function resourcePath(
  type: ResourceType,
  where: { namespace?: string | undefined; name?: string | undefined; subresource?: string | undefined },
): string {
  const root = type.group === "" ? "/api" : `/apis/${encodeURIComponent(type.group)}`;
  const parts = [encodeURIComponent(type.version)];
  if (where.namespace !== undefined) parts.push("namespaces", segment(where.namespace));
  parts.push(segment(type.plural));
  if (where.name !== undefined) parts.push(segment(where.name));
  if (where.subresource !== undefined) parts.push(segment(where.subresource));
  return `${root}/${parts.join("/")}`;
}

/** The key of an object in caches and queues: "namespace/name", or "name" for a cluster-scoped one. */
export function keyOf(object: { metadata: ObjectReference }): string {
  const { namespace, name } = object.metadata;
  return namespace === undefined || namespace === "" ? name : `${namespace}/${name}`;
}

/** The inverse of {@link keyOf}. */
export function parseKey(key: string): ObjectReference {
  const slash = key.indexOf("/");
  return slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** The namespace of a key; empty for that of a cluster-scoped object. */
export function namespaceOf(key: string): string {
  return parseKey(key).namespace ?? "";
}

/**
 * Orders two resourceVersions of one resource type: negative if the first is older.
 * They are decimal numbers that may exceed 2^53, comparable since Kubernetes 1.35 says so
 * (KEP-5504) and in practice always: they are etcd's revisions.
 */
export function compareResourceVersions(first: string, second: string): number {
  if (first.length !== second.length) return first.length - second.length;
  if (first === second) return 0;
  return first < second ? -1 : 1;
}

function segment(part: string): string {
  // An empty name would address the collection, "." and ".." another path altogether.
  if (part === "" || part === "." || part === "..") {
    throw new TypeError(`${JSON.stringify(part)} cannot be part of a Kubernetes API path`);
  }
  return encodeURIComponent(part);
}
