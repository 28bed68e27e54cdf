import type { Readable } from "node:stream";
import type { Dispatcher } from "undici";
import { parseJson, readText } from "./body.ts";
import type { Credentials } from "./credentials.ts";
import { within } from "./deadline.ts";
import { MalformedResponseError, UnreachableError } from "./errors.ts";
import type { KubeconfigChoice } from "./kubeconfig.ts";
import { loadCredentials } from "./load.ts";
import { type Page, pageOf } from "./page.ts";
import { type Call, describe, failureOf, type Query, requestOptions } from "./request.ts";
import {
  apiVersionOf,
  type KubernetesObject,
  type ObjectReference,
  resourcePath,
  type ResourceType,
} from "./resource.ts";
import { type Purpose, Transport } from "./transport.ts";
import { DEADLINE_EXCEEDED } from "./unreachable.ts";

/** Etcd refuses objects above 1.5 MiB by default; administrators raise that, but not to this. */
const LARGEST_OBJECT_BYTES = 16 * 2 ** 20;

/** A larger page is TooLarge; the caller may ask for smaller pages, as the reflector does. */
const LARGEST_PAGE_BYTES = 64 * 2 ** 20;

/** What a client is made with; every field has a default. */
export interface ClientOptions {
  /** Sent with each request; the audit log shows it. */
  userAgent?: string;
  /** How long a request may take in all, in milliseconds, unless it says otherwise. Default 30 s. */
  deadlineMs?: number;
  /** How many connections calls may share. Default 8. */
  connections?: number;
}

/** How one request is bounded. */
export interface RequestOptions {
  /** Aborts the request, which then rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Milliseconds until the request rejects with an UnreachableError, credentials and waiting included. */
  deadlineMs?: number | undefined;
}

/** How a write is done. */
export interface WriteOptions extends RequestOptions {
  /** Such as "status"; without it, the object itself. */
  subresource?: string | undefined;
  /** Who owns the written fields in managedFields. */
  fieldManager?: string | undefined;
}

/** Which objects to list, and which page of them. */
export interface ListQuery {
  /** Without it, all namespaces. */
  namespace?: string | undefined;
  labelSelector?: string | undefined;
  fieldSelector?: string | undefined;
  /** Objects in a page. */
  limit?: number | undefined;
  /** Where the page before this one ended. */
  continue?: string | undefined;
}

/**
 * A client of one API server over few long-lived connections.
 *
 * Every method rejects with an ApiError (the API server said no), an UnreachableError (no answer), a
 * MalformedResponseError (not an API server's answer), a CredentialsError, or the reason of the
 * caller's signal. Nothing is retried but a request that was refused for stale credentials: that
 * one has had no effect. Retry-After is in the error, and the caller's to honour.
 */
export class KubernetesClient implements AsyncDisposable {
  readonly #credentials: Credentials;
  readonly #transport: Transport;
  readonly #deadlineMs: number;
  readonly #userAgent: string;

  constructor(credentials: Credentials, options: ClientOptions = {}) {
    this.#credentials = credentials;
    this.#deadlineMs = options.deadlineMs ?? 30_000;
    this.#userAgent = options.userAgent ?? "warmboot";
    this.#transport = new Transport({ connections: options.connections ?? 8, connectTimeoutMs: 10_000 });
  }

  /** A client with the credentials of {@link loadCredentials}. Connects to nothing yet. */
  static async load(options: ClientOptions & KubeconfigChoice = {}): Promise<KubernetesClient> {
    return new KubernetesClient(await loadCredentials(options), options);
  }

  /** The API server's URL, fit for messages. */
  get server(): string {
    return this.#credentials.server;
  }

  /** The namespace of the kubeconfig's context or of the pod, where there is one. */
  get namespace(): string | undefined {
    return this.#credentials.namespace;
  }

  /** Reads one object. */
  get<T extends KubernetesObject>(
    type: ResourceType,
    reference: ObjectReference,
    options: RequestOptions = {},
  ): Promise<T> {
    return this.#object<T>({ method: "GET", path: pathOf(type, reference) }, options);
  }

  /** Reads one page of a collection: consistently, as no resourceVersion is asked for. */
  async list<T extends KubernetesObject>(
    type: ResourceType,
    query: ListQuery = {},
    options: RequestOptions = {},
  ): Promise<Page<T>> {
    const { namespace, ...rest } = query;
    const call: Call = { method: "GET", path: resourcePath(type, { namespace }), query: rest };
    return pageOf<T>(await this.#json(call, LARGEST_PAGE_BYTES, options), describe(call));
  }

  /** Creates an object and returns it as the API server keeps it. */
  create<T extends KubernetesObject>(type: ResourceType, object: T, options: WriteOptions = {}): Promise<T> {
    const { namespace } = object.metadata;
    const call: Call = {
      method: "POST",
      path: resourcePath(type, { namespace }),
      query: { fieldManager: options.fieldManager },
      body: typed(type, object),
    };
    return this.#object<T>(call, options);
  }

  /** Replaces an object or a subresource of it, guarded by the resourceVersion and UID that the object carries. */
  replace<T extends KubernetesObject>(type: ResourceType, object: T, options: WriteOptions = {}): Promise<T> {
    const call: Call = {
      method: "PUT",
      path: pathOf(type, object.metadata, options.subresource),
      query: { fieldManager: options.fieldManager },
      body: typed(type, object),
    };
    return this.#object<T>(call, options);
  }

  /** Changes some fields of an object by a JSON merge patch, in which null removes a field. */
  mergePatch<T extends KubernetesObject>(
    type: ResourceType,
    reference: ObjectReference,
    patch: object,
    options: WriteOptions = {},
  ): Promise<T> {
    const call: Call = {
      method: "PATCH",
      path: pathOf(type, reference, options.subresource),
      query: { fieldManager: options.fieldManager },
      body: patch,
      contentType: "application/merge-patch+json",
    };
    return this.#object<T>(call, options);
  }

  /** Deletes an object; with a UID, only if it is still that object. Finalizers may keep it for a while. */
  async delete(
    type: ResourceType,
    reference: ObjectReference & { uid?: string | undefined },
    options: RequestOptions = {},
  ): Promise<void> {
    const body = reference.uid === undefined ? undefined : { preconditions: { uid: reference.uid } };
    await this.#json(
      { method: "DELETE", path: pathOf(type, reference), body },
      LARGEST_OBJECT_BYTES,
      options,
    );
  }

  /**
   * Opens an answer that goes on for a long time, on a connection of its own. It ends with undici's errors.
   * @param options the deadline is for the answer's beginning; the signal ends it at any time
   */
  async stream(path: string, query: Query, options: RequestOptions = {}): Promise<Readable> {
    const call: Call = { method: "GET", path, query };
    const body = await this.#within(options, async (signal) => {
      const response = await this.#send("Watch", call, signal);
      if (response.statusCode !== 200) throw await failureOf(response, describe(call));
      return response.body;
    });
    // Destroying an unread body is an error to it, which nobody else may be left to hear.
    body.on("error", () => {});
    const { signal } = options;
    const abort = () => body.destroy(signal?.reason);
    signal?.addEventListener("abort", abort);
    body.once("close", () => signal?.removeEventListener("abort", abort));
    return body;
  }

  /** The connections may be half open: whatever is asked from now on opens new ones. */
  reconnect(): void {
    this.#transport.renew(this.#transport.generation);
  }

  /** Ends all connections; what is under way rejects. */
  async close(): Promise<void> {
    await this.#transport.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #route(): string {
    const { server, proxy } = this.#credentials;
    return proxy === undefined ? server : `${server} through the proxy ${proxy}`;
  }

  async #object<T>(call: Call, options: RequestOptions): Promise<T> {
    const object = await this.#json(call, LARGEST_OBJECT_BYTES, options);
    if (typeof object !== "object" || object === null || !("metadata" in object)) {
      throw new MalformedResponseError(describe(call), "UnexpectedShape", "the answer is not an object");
    }
    // It has the shape of its schema on the API server; a caller that does not rely on that parses it.
    return object as T;
  }

  #json(call: Call, limitBytes: number, options: RequestOptions): Promise<unknown> {
    const request = describe(call);
    return this.#within(options, async (signal) => {
      const response = await this.#send("Call", call, signal);
      if (response.statusCode >= 300) throw await failureOf(response, request);
      return parseJson(await readText(response.body, limitBytes, request), request);
    });
  }

  async #send(purpose: Purpose, call: Call, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const response = await this.#sendOnce(purpose, call, signal);
    if (response.statusCode !== 401 || !(await this.#credentials.renew())) return response;
    await response.body.dump();
    return this.#sendOnce(purpose, call, signal);
  }

  async #sendOnce(purpose: Purpose, call: Call, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const { headers, material } = await this.#credentials.current();
    const options = requestOptions(this.server, call, { "user-agent": this.#userAgent, ...headers });
    return this.#transport.dispatcher(purpose, material).request({ ...options, signal });
  }

  async #within<T>(options: RequestOptions, operation: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { signal, deadlineMs = this.#deadlineMs } = options;
    const { generation } = this.#transport;
    try {
      return await within({ signal, deadlineMs, server: this.#route }, operation);
    } catch (error) {
      if (error instanceof UnreachableError && error.code === DEADLINE_EXCEEDED) {
        this.#transport.renew(generation);
      }
      throw error;
    }
  }
}

function pathOf(type: ResourceType, { namespace, name }: ObjectReference, subresource?: string): string {
  return resourcePath(type, { namespace, name, subresource });
}

/** The API server refuses a body that does not say what it is; objects from lists and caches may not say it. */
function typed<T extends KubernetesObject>(type: ResourceType, object: T): T {
  return { ...object, apiVersion: apiVersionOf(type), kind: type.kind };
}
