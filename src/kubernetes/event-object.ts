import { createHash } from "node:crypto";
import type { KubernetesObject, ObjectMeta, ResourceType } from "./resource.ts";
import { apiVersionOf } from "./resource.ts";

/** Events as `kubectl get events` and `kubectl events` show them. */
export const EVENTS: ResourceType = {
  group: "events.k8s.io",
  version: "v1",
  kind: "Event",
  plural: "events",
};

/** The API server refuses longer ones; it counts bytes. */
const LONGEST_NOTE_BYTES = 1024;
const LONGEST_INSTANCE = 128;

/** What an event tells: a transition of one object. */
export interface EventContent<Reason extends string = string> {
  /** What the event is about. */
  regarding: { type: ResourceType; metadata: ObjectMeta };
  type: "Normal" | "Warning";
  /** Why, as one word: what people and alerts look for. */
  reason: Reason;
  /** What the controller did or tried, as one word. */
  action: string;
  /** What happened, for people; cut after 1024 bytes. */
  note: string;
}

/** An object of events.k8s.io/v1; the fields that the API requires are required. */
export interface EventObject extends KubernetesObject {
  eventTime: string;
  reportingController: string;
  reportingInstance: string;
  action: string;
  reason: string;
  regarding: Record<string, string | undefined>;
  type: string;
  note: string;
  series?: EventSeries;
}

/** How often the same event has happened, and when last. */
export interface EventSeries {
  count: number;
  lastObservedTime: string;
}

/** Who reports events. */
export interface Reporter {
  /** Such as "warmboot.dev/controller": one word or a qualified name. */
  reportingController: string;
  /** Which instance of it, such as the pod's name. */
  reportingInstance: string;
}

/** Equal for events that say the same of the same object. */
export function eventKey({ regarding, type, reason, action, note }: EventContent): string {
  return createHash("sha256")
    .update(JSON.stringify([regarding.metadata.uid, regarding.metadata.namespace, regarding.metadata.name]))
    .update(JSON.stringify([regarding.type.kind, type, reason, action, note]))
    .digest("base64url");
}

/**
 * The object of an event.
 * @param eventTime as {@link microTime} writes it
 * @param unique what makes its name differ from that of other events of the same object
 */
export function eventObject(
  content: EventContent,
  reporter: Reporter,
  eventTime: string,
  unique: string,
): EventObject {
  const { regarding, type, reason, action, note } = content;
  const { name, namespace, uid, resourceVersion } = regarding.metadata;
  // As client-go names events; 253 characters are the limit of a name.
  const eventName = `${name.slice(0, 252 - unique.length)}.${unique}`;
  return {
    // The API server wants the events of cluster-scoped objects in "default".
    metadata: { name: eventName, namespace: namespace ?? "default" },
    eventTime,
    reportingController: reporter.reportingController,
    reportingInstance: reporter.reportingInstance.slice(0, LONGEST_INSTANCE),
    action,
    reason,
    regarding: {
      apiVersion: apiVersionOf(regarding.type),
      kind: regarding.type.kind,
      namespace,
      name,
      uid,
      resourceVersion,
    },
    type,
    note: truncated(note),
  };
}

/** RFC 3339 with microseconds, as the API wants it; ours are those of a clock of milliseconds. */
export function microTime(atMs: number): string {
  return new Date(atMs).toISOString().replace("Z", "000Z");
}

function truncated(note: string): string {
  const bytes = Buffer.from(note, "utf8");
  if (bytes.length <= LONGEST_NOTE_BYTES) return note;
  const ellipsis = "…";
  const kept = bytes.subarray(0, LONGEST_NOTE_BYTES - Buffer.byteLength(ellipsis));
  // A character that was cut in two becomes a replacement character at the end.
  return kept.toString("utf8").replace(/\uFFFD$/, "") + ellipsis;
}
