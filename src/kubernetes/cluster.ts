import { setTimeout } from "node:timers/promises";
import { Backoff } from "./backoff.ts";
import type { KubernetesClient } from "./client.ts";
import { MalformedResponseError } from "./errors.ts";
import type { ResourceType } from "./resource.ts";

const namespaces: ResourceType = { group: "", version: "v1", kind: "Namespace", plural: "namespaces" };

/** How the identity of a cluster is asked for. */
export interface ClusterUidOptions {
  signal: AbortSignal;
  /** Told of each failure; it is asked again after the delay. */
  onError: (error: unknown, retryInMs: number) => void;
}

/**
 * What tells a cluster from all others: the UID of the namespace kube-system, which every cluster has and none can
 * lose. Asks until it gets it; rejects only with the signal's reason.
 */
export async function clusterUid(
  client: KubernetesClient,
  { signal, onError }: ClusterUidOptions,
): Promise<string> {
  const backoff = new Backoff({ baseMs: 500, maxMs: 30_000 });
  for (;;) {
    try {
      const { metadata } = await client.get(namespaces, { name: "kube-system" }, { signal });
      if (metadata.uid !== undefined) return metadata.uid;
      throw new MalformedResponseError("GET kube-system", "UnexpectedShape", "the namespace has no UID");
    } catch (error) {
      signal.throwIfAborted();
      const retryInMs = backoff.next();
      onError(error, retryInMs);
      await setTimeout(retryInMs, undefined, { signal });
    }
  }
}
