import { z } from "zod";
import { condition } from "./condition.ts";
import { column, rules, wideColumn, type CustomResource } from "./custom-resource.ts";
import {
  declaredVolume,
  definition,
  detachedVolume,
  longestListed,
  mostListed,
  mostVolumes,
  objectName,
  preflightFinding,
} from "./machine.ts";
import { restartPolicy } from "./restart-policy.ts";
import { restartAttempt, restartMode, restartRecord, restartRequest } from "./restart.ts";
import { timestamp } from "./timestamp.ts";

/** Annotations that users write; the controller reads them and never writes or removes one. */
export const annotations = {
  /** Any new non-empty value requests a restart; a timestamp by convention. */
  restart: "warmboot.dev/restart",
  /** The mode of the requests that arrive with it: Auto, Soft or Hard. Anything else is refused. */
  restartMode: "warmboot.dev/restart-mode",
  /** Takes back the request with this token or generation, as long as the guest has not been touched. */
  cancel: "warmboot.dev/cancel",
  /** Lets the request with this token or generation through although minIntervalSeconds is not over. */
  skipInterval: "warmboot.dev/skip-interval",
  /** Lets the request with this token or generation through although something that its start needs seems to be missing. */
  skipPreflight: "warmboot.dev/skip-preflight",
} as const;

/** Longest restart token in characters; a longer one is refused with an Event. */
export const longestRestartToken = 256;

/** How many ended restarts `status.history` keeps. */
export const historyLength = 10;

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const domainReference = z
  .object({
    name: z
      .string()
      .min(1)
      .max(253)
      .regex(objectName)
      .optional()
      .describe("Name of the libvirt domain. Default: the name of this resource."),
    uuid: z
      .string()
      .regex(uuid)
      .optional()
      .describe("UUID of the libvirt domain, in lower case; it stays true when the domain is renamed."),
  })
  .prefault({})
  .meta({
    description: "Which libvirt domain this resource restarts: by name or by UUID. It cannot be changed.",
    ...rules(
      ["!(has(self.name) && has(self.uuid))", "give name or uuid, not both: they could name two domains"],
      [
        "self == oldSelf",
        "spec.domain cannot be changed: delete this resource (its domain is left alone) and create another",
      ],
    ),
  });

const spec = z
  .object({
    domain: domainReference,
    restartGeneration: z
      .int()
      .min(0)
      .max(Number.MAX_SAFE_INTEGER)
      .optional()
      .describe(
        "Raise it to request a restart; every value that is higher than status.observedRestartGeneration " +
          "requests one. Lowering it (a reverted commit) restarts nothing and becomes the new baseline.",
      ),
    restartPolicy,
    definition: definition.optional(),
    volumes: z
      .array(declaredVolume)
      .max(mostVolumes)
      .default([])
      .describe("Storage volumes that the machine must have; a missing one is created before a start.")
      .meta({ "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["pool", "name"] }),
    suspend: z
      .boolean()
      .default(false)
      .describe(
        "True: no restart is begun and the domain is not touched. Requests wait. " +
          "A guest that a restart has already stopped is still started again.",
      ),
  })
  .prefault({})
  .describe("What should be: which domain, how it is restarted, and the request for a restart.");

/** States of a libvirt domain, in libvirt's words. */
export const domainStates = [
  "NoState",
  "Running",
  "Blocked",
  "Paused",
  "Shutdown",
  "Shutoff",
  "Crashed",
  "PMSuspended",
] as const;

const domainStatus = z
  .object({
    uuid: z.string().describe("UUID of the domain."),
    id: z
      .int()
      .optional()
      .describe("ID of the running domain on its hypervisor; absent while the domain is off."),
    state: z.enum(domainStates).describe("State of the domain, as libvirt names it."),
    reason: z.string().describe("Why the domain is in this state, as libvirt names it."),
  })
  .describe("The libvirt domain as last seen.");

const status = z
  .object({
    observedGeneration: z
      .int()
      .default(-1)
      .describe("metadata.generation of the spec that was last looked at; -1: none yet."),
    observedRestartGeneration: z
      .int()
      .optional()
      .describe(
        "The last spec.restartGeneration whose request has ended, whatever its result. " +
          "Wait for it with kubectl wait, then read lastRestart.result.",
      ),
    observedRestartToken: z
      .string()
      .optional()
      .describe("The last value of the annotation warmboot.dev/restart whose request has ended."),
    request: restartRequest.optional().describe("The request that waits or is being served."),
    domain: domainStatus.optional(),
    attempt: restartAttempt.optional(),
    findings: z
      .array(preflightFinding)
      .max(mostListed)
      .optional()
      .describe("What keeps the domain from starting; there while a restart waits for it to be mended."),
    pendingChanges: z
      .array(z.string().max(longestListed))
      .max(mostListed)
      .optional()
      .describe(
        'What the next start would change of the running machine, such as "memory 2 GiB -> 4 GiB"; empty where ' +
          "nothing. The condition RestartRequired is True while it lists anything.",
      ),
    detachedVolumes: z
      .array(detachedVolume)
      .max(mostListed)
      .optional()
      .describe(
        "Disks without which the running boot was started, as restartPolicy.onUnavailableVolume: Detach allows. They " +
          "come back at the next restart, or at once where libvirt can plug them in.",
      ),
    lastRestart: restartRecord.optional().describe("The last restart that ended."),
    history: z
      .array(restartRecord)
      .max(historyLength)
      .optional()
      .describe("The restarts that ended, the newest first."),
    conditions: z
      .array(condition)
      .optional()
      .describe(
        "Ready: the domain is known and no restart is under way. Reconciling: a restart is under way. " +
          "Stalled: somebody has to act. Bound: the domain exists. GuestReady: the guest agent is connected; there " +
          "only where the domain has a channel for one. RestartRequired: the next start would change the running machine. " +
          "VolumesDegraded: it runs without some of its disks. Reconciling, Stalled and VolumesDegraded are only there " +
          "while True.",
      )
      .meta({ "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"] }),
  })
  .prefault({})
  .describe("What the controller has seen and done.");

/** The metadata of a resource that this project reads; everything else stays with the API server. */
const metadata = z.object({
  namespace: z.string(),
  name: z.string(),
  uid: z.string(),
  resourceVersion: z.string(),
  generation: z.int(),
  creationTimestamp: timestamp,
  deletionTimestamp: timestamp.optional(),
  annotations: z.record(z.string(), z.string()).prefault({}),
});

const virtualMachine = z.object({ metadata, spec, status });

/** A VirtualMachine as the controller works with it: validated, every default filled in. */
export type VirtualMachine = z.output<typeof virtualMachine>;
/** The status of a VirtualMachine. */
export type VirtualMachineStatus = VirtualMachine["status"];
/** A libvirt domain as the status shows it. */
export type DomainStatus = z.output<typeof domainStatus>;
/** A state of a libvirt domain. */
export type DomainState = (typeof domainStates)[number];

/** Either the parsed resource or a sentence that says which field is wrong. */
export type ParsedVirtualMachine =
  | { kind: "Valid"; virtualMachine: VirtualMachine }
  | { kind: "Invalid"; message: string };

/**
 * Reads a VirtualMachine as it came from the API server, fills in the defaults and drops every field that
 * is not the controller's business. A CRD of another version may let through what this one does not
 * expect: in the spec that is an answer, not an exception; in the status it is left out, so that the words of a newer
 * controller do not stop an older one.
 */
export function parseVirtualMachine(resource: unknown): ParsedVirtualMachine {
  const result = virtualMachine.safeParse(resource);
  if (result.success) return { kind: "Valid", virtualMachine: result.data };
  const unreadable = result.error.issues.filter(({ path }) => path[0] === "status");
  if (unreadable.length === 0) return { kind: "Invalid", message: z.prettifyError(result.error) };
  const { status: written, ...rest } = resource as { status: unknown };
  return parseVirtualMachine({
    ...rest,
    status: readablePart(
      written,
      unreadable.map(({ path }) => path),
    ),
  });
}

/** A status without the fields, and without the items of lists, that cannot be read. */
function readablePart(status: unknown, unreadable: PropertyKey[][]): Record<string, unknown> | undefined {
  if (typeof status !== "object" || status === null) return undefined;
  const kept = Object.entries(status).map(([field, value]: [string, unknown]) => {
    const items = unreadable.filter((path) => path[1] === field).map((path) => path[2]);
    if (items.length === 0) return [field, value];
    const isList = Array.isArray(value) && items.every((item) => typeof item === "number");
    return [field, isList ? value.filter((_item, index) => !items.includes(index)) : undefined];
  });
  return Object.fromEntries(kept);
}

/** Reads the value of the annotation restart-mode; undefined for a value that is no mode. */
export function parseRestartMode(value: string): z.output<typeof restartMode> | undefined {
  const result = restartMode.safeParse(value);
  return result.success ? result.data : undefined;
}

/** The custom resource definition's source: names, schema and columns of VirtualMachine. */
export const virtualMachineResource: CustomResource = {
  group: "warmboot.dev",
  version: "v1alpha1",
  kind: "VirtualMachine",
  listKind: "VirtualMachineList",
  plural: "virtualmachines",
  singular: "virtualmachine",
  shortNames: ["wvm"],
  description:
    "VirtualMachine restarts one libvirt domain on request: gracefully where the guest answers, " +
    "by power cycle where it does not, once per request, and with proof in the status.",
  schema: z.object({ spec, status }),
  columns: [
    column("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),
    column("State", "string", ".status.domain.state"),
    column("Stage", "string", ".status.attempt.stage"),
    column("Restart", "string", ".status.lastRestart.result"),
    column("Method", "string", ".status.lastRestart.method"),
    column("Downtime-ms", "integer", ".status.lastRestart.downtimeMilliseconds"),
    column("Last-Restart", "date", ".status.lastRestart.endedAt"),
    wideColumn("Restart-Required", "string", '.status.conditions[?(@.type=="RestartRequired")].status'),
    wideColumn("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason'),
    wideColumn("Message", "string", '.status.conditions[?(@.type=="Ready")].message'),
  ],
};
