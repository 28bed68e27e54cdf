import type { Infer } from "../xdr/codec.ts";
import { array, optional } from "../xdr/compound.ts";
import { int } from "../xdr/primitives.ts";
import { defineEvent } from "./procedure.ts";
import { procedures } from "./procedures.ts";
import {
  JOB_STATS_MAX,
  domain,
  network,
  nodeDevice,
  secret,
  storagePool,
  text,
  typedParam,
} from "./types.ts";

const callbackId = int;
const dom = domain;
const ofDomains = procedures.connectDomainEventCallbackRegisterAny;

/** The events about domains, each with its number and what to register for. */
export const events = {
  lifecycle: defineEvent(ofDomains, "LIFECYCLE", 318, 0, { callbackId, dom, event: int, detail: int }),
  reboot: defineEvent(ofDomains, "REBOOT", 319, 1, { callbackId, dom }),
  ioErrorReason: defineEvent(ofDomains, "IO_ERROR_REASON", 324, 6, {
    callbackId,
    dom,
    srcPath: text,
    devAlias: text,
    action: int,
    reason: text,
  }),
  pmWakeup: defineEvent(ofDomains, "PMWAKEUP", 329, 11, { callbackId, reason: int, dom }),
  pmSuspend: defineEvent(ofDomains, "PMSUSPEND", 330, 12, { callbackId, reason: int, dom }),
  blockJob: defineEvent(ofDomains, "BLOCK_JOB_2", 339, 16, {
    callbackId,
    dom,
    dst: text,
    type: int,
    status: int,
  }),
  agentLifecycle: defineEvent(ofDomains, "AGENT_LIFECYCLE", 348, 18, {
    callbackId,
    dom,
    state: int,
    reason: int,
  }),
  jobCompleted: defineEvent(ofDomains, "JOB_COMPLETED", 363, 21, {
    callbackId,
    dom,
    params: array(typedParam, JOB_STATS_MAX),
  }),
  metadataChange: defineEvent(ofDomains, "METADATA_CHANGE", 379, 23, {
    callbackId,
    dom,
    type: int,
    nsUri: optional(text),
  }),
} as const;

const ofNetworks = procedures.connectNetworkEventRegisterAny;
const ofStoragePools = procedures.connectStoragePoolEventRegisterAny;
const ofNodeDevices = procedures.connectNodeDeviceEventRegisterAny;
const ofSecrets = procedures.connectSecretEventRegisterAny;
const lifecycle = { event: int, detail: int };

/** The events about what a host has for its domains, each with its number and what to register for. */
export const hostEvents = {
  networkLifecycle: defineEvent(ofNetworks, "NETWORK_EVENT_LIFECYCLE", 315, 0, {
    callbackId,
    net: network,
    ...lifecycle,
  }),
  storagePoolLifecycle: defineEvent(ofStoragePools, "STORAGE_POOL_EVENT_LIFECYCLE", 370, 0, {
    callbackId,
    pool: storagePool,
    ...lifecycle,
  }),
  storagePoolRefresh: defineEvent(ofStoragePools, "STORAGE_POOL_EVENT_REFRESH", 373, 1, {
    callbackId,
    pool: storagePool,
  }),
  nodeDeviceLifecycle: defineEvent(ofNodeDevices, "NODE_DEVICE_EVENT_LIFECYCLE", 376, 0, {
    callbackId,
    dev: nodeDevice,
    ...lifecycle,
  }),
  secretLifecycle: defineEvent(ofSecrets, "SECRET_EVENT_LIFECYCLE", 382, 0, {
    callbackId,
    secret,
    ...lifecycle,
  }),
  /** The secret was given a value, its first or another. */
  secretValueChanged: defineEvent(ofSecrets, "SECRET_EVENT_VALUE_CHANGED", 383, 1, { callbackId, secret }),
} as const;

/** The payload of each event by the event's name. */
export type EventPayloads = {
  [K in keyof typeof events]: Infer<(typeof events)[K]["payload"]>;
} & {
  [K in keyof typeof hostEvents]: Infer<(typeof hostEvents)[K]["payload"]>;
};
