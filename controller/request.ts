import { mostJoinedTokens, type RestartRequest } from "../crds/restart.ts";
import {
  annotations,
  longestRestartToken,
  parseRestartMode,
  parseVirtualMachine,
  type VirtualMachine,
  type VirtualMachineStatus,
} from "../crds/virtual-machine.ts";
import { shortened } from "../crds/shortened.ts";
import { formatTimestamp, parseTimestamp } from "../crds/timestamp.ts";
import type { RequestMark } from "./ports.ts";

/** What a resource's triggers say, compared with what its status says has been served. */
export type Trigger =
  /** Nobody has looked at the resource yet: whatever it says already is the baseline. */
  | { kind: "FirstSight" }
  | { kind: "Nothing" }
  /** An older state came back, by a reverted commit or by drift correction: it becomes the new baseline. */
  | { kind: "Reverted"; served: Served; message: string }
  /** The value cannot be used; it is refused once. */
  | { kind: "Invalid"; served: Served; message: string }
  | { kind: "Requested"; request: RestartRequest }
  /** Requested, and taken back by name. */
  | { kind: "Cancelled"; request: RestartRequest };

/** The values that count as served from now on; a field that is absent stays as it is. */
export type Served = Pick<VirtualMachineStatus, "observedRestartGeneration" | "observedRestartToken">;

/** Reads both triggers of a resource. */
export function readTriggers(virtualMachine: VirtualMachine, epochMs: number): Trigger {
  const { spec, status } = virtualMachine;
  if (status.observedRestartGeneration === undefined) return { kind: "FirstSight" };
  if (spec.restartGeneration !== undefined && spec.restartGeneration < status.observedRestartGeneration) {
    return loweredGeneration(spec.restartGeneration, status.observedRestartGeneration);
  }
  const token = readToken(virtualMachine);
  if (token.kind === "Reverted" || token.kind === "Invalid") return token;
  const restartGeneration = raisedGeneration(virtualMachine);
  const restartToken = token.kind === "New" ? token.value : undefined;
  if (restartGeneration === undefined && restartToken === undefined) return { kind: "Nothing" };
  return readMode(virtualMachine, { restartGeneration, restartToken }, epochMs);
}

/** What counts as served once nothing that a resource says now shall restart it: at first sight. */
export function baseline(virtualMachine: VirtualMachine): Served {
  const token = virtualMachine.metadata.annotations[annotations.restart];
  return {
    observedRestartGeneration: virtualMachine.spec.restartGeneration ?? 0,
    observedRestartToken:
      token === "" || token === undefined ? undefined : shortened(token, longestRestartToken),
  };
}

/** What counts as served once a request has ended. */
export function servedBy({ restartGeneration, restartToken }: RestartRequest): Served {
  return { observedRestartGeneration: restartGeneration, observedRestartToken: restartToken };
}

/**
 * Whether the domain's own record tells of an attempt that this resource has to bring to its end: its own, whose
 * end the status has not seen, or that of a resource of the same name that was deleted in the middle of it.
 */
export function tellsOfUnended(mark: RequestMark, virtualMachine: VirtualMachine, cluster: string): boolean {
  const { metadata, status } = virtualMachine;
  const { uid, namespace, name } = metadata;
  // A lowered generation moves the baseline below what has been served: that makes nothing unserved.
  if (status.history?.some(({ id }) => id === mark.attempt) === true) return false;
  // Without a result it has not ended, whatever a restored status says of its request.
  if (mark.resource === uid) return mark.result === undefined || !isServed(mark.request, status);
  // Another cluster may have a resource of the same name, and its own controller.
  return mark.result === undefined && mark.owner === `${namespace}/${name}` && mark.cluster === cluster;
}

/**
 * The resource with what the domain remembers of requests before its last one. It matters where the status has not
 * heard of the last one either: both were lost.
 */
export function withServedBefore(
  virtualMachine: VirtualMachine,
  mark: RequestMark | undefined,
  cluster: string,
): VirtualMachine {
  const { metadata, status } = virtualMachine;
  if (mark === undefined || mark.resource !== metadata.uid) return virtualMachine;
  if (!tellsOfUnended(mark, virtualMachine, cluster)) return virtualMachine;
  const { observedRestartGeneration, observedRestartToken } = mark.servedBefore;
  const served: Served = {
    observedRestartGeneration: observedRestartGeneration ?? status.observedRestartGeneration,
    observedRestartToken: observedRestartToken ?? status.observedRestartToken,
  };
  return { ...virtualMachine, status: { ...status, ...served, request: stillWaiting(status, mark) } };
}

/** An attempt ends before the next one marks the domain: what an older status says is being served has been. */
function stillWaiting(
  { request, attempt }: VirtualMachineStatus,
  mark: RequestMark,
): RestartRequest | undefined {
  const wasServed = attempt !== undefined && attempt.id !== mark.attempt;
  return wasServed && request?.restartToken === attempt.request.restartToken ? undefined : request;
}

/**
 * The resource that a mark was written for, as far as the mark tells, once it is gone. What it allowed is not known:
 * its guest is asked, and forced only where the request itself said so.
 */
export function departedOwner(mark: RequestMark, uuid: string): VirtualMachine {
  const [namespace, name] = mark.owner.split("/");
  const creationTimestamp = formatTimestamp(0);
  const parsed = parseVirtualMachine({
    metadata: { namespace, name, uid: mark.resource, resourceVersion: "", generation: 0, creationTimestamp },
    spec: { domain: { uuid }, restartPolicy: { mode: "Soft" } },
    status: { observedRestartGeneration: mark.servedBefore.observedRestartGeneration ?? 0 },
  });
  if (parsed.kind === "Invalid") throw new Error(`the owner of a mark cannot be made: ${parsed.message}`);
  return parsed.virtualMachine;
}

/** Whether a status counts a request as served, by itself or joined to another. */
export function isServed(request: RestartRequest, status: VirtualMachineStatus): boolean {
  const { restartGeneration, restartToken } = request;
  const generationServed =
    restartGeneration === undefined || restartGeneration <= (status.observedRestartGeneration ?? -1);
  const tokenServed = restartToken === undefined || servedTokens(status).includes(restartToken);
  return generationServed && tokenServed;
}

/**
 * Two requests as one: the higher generation, the newer token, the earlier time. The result is the first one
 * itself where the second adds nothing.
 */
export function joined(request: RestartRequest, other: RestartRequest): RestartRequest {
  const higher = (other.restartGeneration ?? -1) > (request.restartGeneration ?? -1);
  const newer = other.restartToken !== undefined && other.restartToken !== request.restartToken;
  if (!higher && !newer) return request;
  return {
    restartGeneration: higher ? other.restartGeneration : request.restartGeneration,
    restartToken: newer ? other.restartToken : request.restartToken,
    joinedTokens: newer ? withJoined(request) : request.joinedTokens,
    mode: other.mode ?? request.mode,
    requestedAt: request.requestedAt,
  };
}

/** Whether the value of an annotation means this request: by its token or by its generation. */
export function names(
  value: string | undefined,
  { restartGeneration, restartToken }: RestartRequest,
): boolean {
  if (value === undefined) return false;
  // A script that knows no generation writes "undefined": that is none.
  return value === restartToken || (restartGeneration !== undefined && value === String(restartGeneration));
}

/** The tokens that a request has served so far, as those that a newer one joins. */
function withJoined({ restartToken, joinedTokens = [] }: RestartRequest): string[] | undefined {
  return restartToken === undefined ? undefined : [...joinedTokens, restartToken].slice(-mostJoinedTokens);
}

function loweredGeneration(generation: number, served: number): Trigger {
  return {
    kind: "Reverted",
    served: { observedRestartGeneration: generation },
    message: `spec.restartGeneration went back from ${served} to ${generation}: nothing is restarted, and ${generation} is the new baseline`,
  };
}

function raisedGeneration({ spec, status }: VirtualMachine): number | undefined {
  const { restartGeneration } = spec;
  // A field that somebody removes says nothing, and so takes nothing back.
  if (restartGeneration === undefined) return undefined;
  return restartGeneration > (status.observedRestartGeneration ?? 0) ? restartGeneration : undefined;
}

type Token =
  | { kind: "Served" }
  | { kind: "New"; value: string }
  | (Trigger & { kind: "Reverted" | "Invalid" });

/** The token that waits: the annotation's, or the one that was recorded before somebody removed it. */
function readToken({ metadata, status }: VirtualMachine): Token {
  const value = metadata.annotations[annotations.restart];
  if (value === undefined || value === "" || value === status.observedRestartToken)
    return recordedToken(status);
  const served = { observedRestartToken: shortened(value, longestRestartToken) };
  if (served.observedRestartToken === status.observedRestartToken) return { kind: "Served" };
  const problem = problemOf(value);
  if (problem !== undefined) return invalid(served, annotations.restart, problem);
  if (servedTokens(status).includes(value)) return revertedToken(value, "was served before");
  return newUnlessOlder(value, status);
}

/** What is wrong with a token; undefined where nothing is. */
function problemOf(token: string): string | undefined {
  if (token.length > longestRestartToken)
    return `has ${token.length} characters; at most ${longestRestartToken} are allowed`;
  // A control character cannot be kept in the domain's XML.
  return /\p{C}/u.test(token) ? "contains a character that cannot be printed" : undefined;
}

/** A revert moves the baseline back; what lies between it and the newest time served is no news either. */
function newUnlessOlder(value: string, status: VirtualMachineStatus): Token {
  return servedTokens(status).some((served) => isOlder(value, served))
    ? revertedToken(value, "is older than one that was served")
    : { kind: "New", value };
}

function recordedToken(status: VirtualMachineStatus): Token {
  const recorded = status.request?.restartToken;
  if (recorded === undefined || servedTokens(status).includes(recorded)) return { kind: "Served" };
  // The controller records none that it would refuse: somebody else did.
  return problemOf(recorded) === undefined ? newUnlessOlder(recorded, status) : { kind: "Served" };
}

function servedTokens(status: VirtualMachineStatus): (string | undefined)[] {
  return [
    status.observedRestartToken,
    ...(status.history ?? []).flatMap(({ request }) => [
      request.restartToken,
      ...(request.joinedTokens ?? []),
    ]),
  ];
}

function isOlder(value: string, served: string | undefined): boolean {
  const time = parseTimestamp(value);
  const servedTime = served === undefined ? undefined : parseTimestamp(served);
  return time !== undefined && servedTime !== undefined && time < servedTime;
}

function revertedToken(value: string, why: string): Token {
  return {
    kind: "Reverted",
    served: { observedRestartToken: value },
    message: `the annotation ${annotations.restart} has a value that ${why}: nothing is restarted`,
  };
}

function invalid(served: Served, annotation: string, what: string): Trigger & { kind: "Invalid" } {
  return { kind: "Invalid", served, message: `the annotation ${annotation} ${what}: nothing is restarted` };
}

function readMode(
  { metadata, status }: VirtualMachine,
  trigger: Pick<RestartRequest, "restartGeneration" | "restartToken">,
  epochMs: number,
): Trigger {
  const text = metadata.annotations[annotations.restartMode] ?? "";
  const mode = text === "" ? undefined : parseRestartMode(text);
  const requestedAt = timeOf(trigger, status.request) ?? formatTimestamp(epochMs);
  const request: RestartRequest = { ...trigger, mode, requestedAt };
  if (names(metadata.annotations[annotations.cancel], request)) return { kind: "Cancelled", request };
  if (text === "" || mode !== undefined) return { kind: "Requested", request };
  const what = `is ${JSON.stringify(text.slice(0, 40))}; it can be Auto, Soft or Hard`;
  return invalid(servedBy(request), annotations.restartMode, what);
}

/** When a request was first seen, where it is on record; a newer one beside it has a time of its own. */
function timeOf(
  { restartGeneration, restartToken }: Pick<RestartRequest, "restartGeneration" | "restartToken">,
  recorded: RestartRequest | undefined,
): string | undefined {
  const isSame = recorded?.restartGeneration === restartGeneration && recorded?.restartToken === restartToken;
  return isSame ? recorded?.requestedAt : undefined;
}
