import assert from "node:assert/strict";
import { describe, it } from "node:test";

import {
  AgentReason,
  AgentState,
  BlockJobStatus,
  BlockJobType,
  ErrorCode,
  IOErrorAction,
  JobOperation,
  MetadataType,
  NetworkEvent,
  NodeDeviceEvent,
  SecretEvent,
  StoragePoolEvent,
  StoragePoolState,
  StorageVolType,
  decodeJobOperation,
  decodeLifecycle,
  decodeState,
  nameOf,
} from "libvirt";
import type { Enumeration } from "libvirt";

import { errorCodeName } from "../../../src/libvirt/names/error-codes.ts";
import { formatVersion } from "../../../src/libvirt/session/synchronize.ts";

describe("states and reasons", () => {
  const states: Record<string, readonly [state: number, reason: number]> = {
    "NoState Unknown": [0, 0],
    "Running Booted": [1, 1],
    "Running Wakeup": [1, 8],
    "Running PostCopyFailed": [1, 11],
    "Blocked Unknown": [2, 0],
    "Paused User": [3, 1],
    "Paused IOError": [3, 5],
    "Paused StartingUp": [3, 11],
    "Shutdown User": [4, 1],
    "Shutoff Shutdown": [5, 1],
    "Shutoff Destroyed": [5, 2],
    "Shutoff Crashed": [5, 3],
    "Shutoff Migrated": [5, 4],
    "Shutoff Saved": [5, 5],
    "Shutoff Failed": [5, 6],
    "Shutoff FromSnapshot": [5, 7],
    "Shutoff Daemon": [5, 8],
    "Crashed Panicked": [6, 1],
    "PMSuspended Unknown": [7, 0],
  };
  for (const [name, [state, reason]] of Object.entries(states)) {
    it(`${state} and ${reason} are ${name}`, () => {
      const decoded = decodeState(state, reason);
      assert.equal(`${decoded.state} ${decoded.reason}`, name);
    });
  }

  it("that a later libvirt added are unknown, and never another state's", () => {
    assert.deepEqual(decodeState(8, 1), { state: "NoState", reason: "Unknown" });
    assert.deepEqual(decodeState(5, 9), { state: "Shutoff", reason: "Unknown" });
    assert.deepEqual(decodeState(-1, -1), { state: "NoState", reason: "Unknown" });
  });
});

describe("lifecycle events and details", () => {
  const lifecycles: Record<string, readonly [event: number, detail: number]> = {
    "Defined Updated": [0, 1],
    "Undefined Removed": [1, 0],
    "Started Booted": [2, 0],
    "Started Wakeup": [2, 4],
    "Suspended IOError": [3, 2],
    "Resumed Unpaused": [4, 0],
    "Stopped Shutdown": [5, 0],
    "Stopped Destroyed": [5, 1],
    "Stopped Crashed": [5, 2],
    "Stopped Migrated": [5, 3],
    "Stopped Saved": [5, 4],
    "Stopped Failed": [5, 5],
    "Stopped FromSnapshot": [5, 6],
    "Shutdown Guest": [6, 1],
    "PMSuspended Disk": [7, 1],
    "Crashed Panicked": [8, 0],
    "Stopped Unknown": [5, 7],
    "Unknown Unknown": [9, 0],
  };
  for (const [name, [event, detail]] of Object.entries(lifecycles)) {
    it(`${event} and ${detail} are ${name}`, () => {
      const decoded = decodeLifecycle(event, detail);
      assert.equal(`${decoded.event} ${decoded.detail}`, name);
    });
  }
});

describe("other names", () => {
  const names: Record<string, readonly [enumeration: Enumeration, names: string]> = {
    "what was done about an I/O error": [IOErrorAction, "None Pause Report Unknown"],
    "the agent's state": [AgentState, "Unknown Connected Disconnected Unknown"],
    "why it changed": [AgentReason, "Unknown DomainStarted Channel Unknown"],
    "the metadata that changed": [MetadataType, "Description Title Element Unknown"],
    "what a disk's job does": [BlockJobType, "Unknown Pull Copy Commit ActiveCommit Backup Unknown"],
    "a storage pool's state": [StoragePoolState, "Inactive Building Running Degraded Inaccessible Unknown"],
    "what a volume is": [StorageVolType, "File Block Dir Network NetDir Ploop Unknown"],
    "what happened to a network": [NetworkEvent, "Defined Undefined Started Stopped Unknown"],
    "what happened to a storage pool": [
      StoragePoolEvent,
      "Defined Undefined Started Stopped Created Deleted Unknown",
    ],
    "what happened to a device of the host": [NodeDeviceEvent, "Created Deleted Defined Undefined Unknown"],
    "what happened to a secret": [SecretEvent, "Defined Undefined Unknown"],
    "how a disk's job ended": [BlockJobStatus, "Completed Failed Canceled Ready Unknown"],
    "what a job does": [
      JobOperation,
      "Unknown Start Save Restore MigrationIn MigrationOut Snapshot SnapshotRevert Dump Backup SnapshotDelete Unknown",
    ],
  };
  for (const [what, [enumeration, expected]] of Object.entries(names)) {
    it(`of ${what} are libvirt's, and Unknown for what a later libvirt added`, () => {
      const decoded = expected.split(" ").map((_, number) => nameOf(enumeration, number));
      assert.equal(decoded.join(" "), expected);
    });
  }

  it("of a job's operation come from its statistics, whatever else is in them", () => {
    const time = { field: "time_elapsed", value: { type: "uhyper", value: 7n } } as const;
    const operation = { field: "operation", value: { type: "int", value: 8 } } as const;
    const ofAnotherType = { field: "operation", value: { type: "string", value: "8" } } as const;
    assert.equal(decodeJobOperation([time, operation]), "Dump");
    assert.equal(decodeJobOperation([time]), "Unknown");
    assert.equal(decodeJobOperation([ofAnotherType]), "Unknown");
  });

  it("of errors are those of their numbers, each number once", () => {
    for (const [name, number] of Object.entries(ErrorCode)) {
      assert.equal(errorCodeName(number), name);
    }
    assert.equal(errorCodeName(42), "NO_DOMAIN");
    assert.equal(errorCodeName(12_345), "UNKNOWN");
  });

  it("of versions have three parts", () => {
    assert.deepEqual([9_000_000n, 10_002_013n, 0n].map(formatVersion), ["9.0.0", "10.2.13", "0.0.0"]);
  });
});
