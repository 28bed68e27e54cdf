import type { Infer } from "../xdr/codec.ts";
import { array, optional } from "../xdr/compound.ts";
import { int } from "../xdr/primitives.ts";
import { defineEvent } from "./procedure.ts";
import { JOB_STATS_MAX, domain, text, typedParam } from "./types.ts";

const callbackId = int;
const dom = domain;

/** The events about domains, each with its number and what to register for. */
export const events = {
  lifecycle: defineEvent("LIFECYCLE", 318, 0, { callbackId, dom, event: int, detail: int }),
  reboot: defineEvent("REBOOT", 319, 1, { callbackId, dom }),
  ioErrorReason: defineEvent("IO_ERROR_REASON", 324, 6, {
    callbackId,
    dom,
    srcPath: text,
    devAlias: text,
    action: int,
    reason: text,
  }),
  pmWakeup: defineEvent("PMWAKEUP", 329, 11, { callbackId, reason: int, dom }),
  pmSuspend: defineEvent("PMSUSPEND", 330, 12, { callbackId, reason: int, dom }),
  blockJob: defineEvent("BLOCK_JOB_2", 339, 16, { callbackId, dom, dst: text, type: int, status: int }),
  agentLifecycle: defineEvent("AGENT_LIFECYCLE", 348, 18, { callbackId, dom, state: int, reason: int }),
  jobCompleted: defineEvent("JOB_COMPLETED", 363, 21, {
    callbackId,
    dom,
    params: array(typedParam, JOB_STATS_MAX),
  }),
  metadataChange: defineEvent("METADATA_CHANGE", 379, 23, {
    callbackId,
    dom,
    type: int,
    nsUri: optional(text),
  }),
} as const;

/** The payload of each event by the event's name. */
export type EventPayloads = { [K in keyof typeof events]: Infer<(typeof events)[K]["payload"]> };
