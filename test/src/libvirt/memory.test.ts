import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { procedures, xdr } from "libvirt";
import type { Codec, TypedParam } from "libvirt";

import { FRAME_MAX } from "../../../src/libvirt/protocol/frame.ts";
import {
  DOMAIN_LIST_MAX,
  DOMAIN_STATS_MAX,
  NODE_DEVICE_LIST_MAX,
} from "../../../src/libvirt/protocol/types.ts";
import { decodeWhole } from "../../../src/libvirt/xdr/decode.ts";
import { XdrWriter } from "../../../src/libvirt/xdr/writer.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

function heldBytes(): number {
  collectGarbage();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** How many times the length of a value on the wire it takes in memory. */
function times<T>(codec: Codec<T>, value: T): number {
  const writer = new XdrWriter();
  codec.encode(writer, value);
  const payload = writer.finish();
  const before = heldBytes();
  const decoded = decodeWhole(codec, payload);
  const factor = (heldBytes() - before) / payload.length;
  assert.ok(decoded !== undefined);
  return factor;
}

function repeated<T>(count: number, item: T): T[] {
  return Array.from({ length: count }, () => item);
}

const { result: domains } = procedures.connectListAllDomains;
const { result: devices } = procedures.connectListAllNodeDevices;
const { result: stats } = procedures.connectGetAllDomainStats;

describe("the values of the message that makes most of its bytes", () => {
  const dom = { name: "", uuid: "6695eb01-f6a4-8304-79aa-97f2502e193f", id: undefined };

  it("take six times its length where it lists domains", () => {
    const factor = times(domains, { domains: repeated(DOMAIN_LIST_MAX, dom), ret: DOMAIN_LIST_MAX });
    assert.ok(factor < 8, `${factor} times`);
  });

  it("take ten times its length where it tells statistics, of which a message can be full", () => {
    const param: TypedParam = { field: "", value: { type: "int", value: 0x7fff_ffff } };
    const params: TypedParam[] = repeated(DOMAIN_STATS_MAX, param);
    const factor = times(stats, { retStats: repeated(3, { dom, params }) });
    assert.ok(factor < 10, `${factor} times`);
  });

  it("take seventeen times its length where they have no content at all, which is 4 MB", () => {
    const factor = times(devices, { devices: repeated(NODE_DEVICE_LIST_MAX, { name: "" }), ret: 0 });
    assert.ok(factor < 17, `${factor} times`);
  });

  it("are no longer than what they were, where they are text", () => {
    const factor = times(xdr.string(FRAME_MAX), "x".repeat(4_000_000));
    assert.ok(factor < 1.1, `${factor} times`);
  });
});
