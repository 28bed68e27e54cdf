import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { DeclaredVolume } from "../../../../crds/machine.ts";
import { preflight } from "../../../../src/hypervisor/preflight/preflight.ts";
import { parseXml } from "../../../../src/hypervisor/xml/parse.ts";
import { refusal, scriptedHost, type Answers } from "./scripted-host.ts";

const pool = { name: "p", uuid: "11111111-0000-4000-8000-000000000001" };
const vol = { pool: "p", name: "v", key: "/p/v" };
const machine =
  "<domain type='test'><name>m</name><devices><disk type='volume'><source pool='p' volume='v'/>" +
  "<target dev='vda'/></disk></devices></domain>";

/** What is found of the machine, which runs or not, with this declaration of its volume. */
async function found(answers: Answers, declared: Partial<DeclaredVolume>, runs: boolean) {
  const { caller } = scriptedHost({
    STORAGE_POOL_LOOKUP_BY_NAME: () => ({ pool }),
    STORAGE_POOL_IS_ACTIVE: () => ({ active: 1 }),
    ...answers,
  });
  const volume: DeclaredVolume = { pool: "p", name: "v", capacity: "1Gi", format: "qcow2", ...declared };
  const xml = parseXml(machine);
  const domain = { name: "m" };
  const context = { driver: "test", domain, liveXml: runs ? xml : undefined, volumes: [volume] };
  const findings = await preflight(caller, xml, context);
  return findings.map(({ reason, repair }) => [reason, repair?.kind]);
}

const throws = (code: Parameters<typeof refusal>[0]) => () => {
  throw refusal(code);
};
const absent = { STORAGE_VOL_LOOKUP_BY_NAME: throws("NO_STORAGE_VOL") };
const backing = { source: { backing: { name: "template", format: "qcow2" as const } } };
const withTemplate = {
  STORAGE_VOL_LOOKUP_BY_NAME: ({ name }: { name: string }) =>
    name === "template" ? { vol: { ...vol, name } } : throws("NO_STORAGE_VOL")(),
};

describe("a declared volume that is gone", () => {
  for (const [sentence, answers, declared, runs, expected] of [
    ["is created for a machine that is off", absent, {}, false, "CreateVolume"],
    ["is not created empty while a guest still writes to what was deleted", absent, {}, true, undefined],
    ["is made from another one, also for a machine that runs", withTemplate, backing, true, "CreateVolume"],
  ] as const)
    test(sentence, async () => {
      assert.deepEqual(await found(answers, declared, runs), [["VolumeMissing", expected]]);
    });
});

describe("a declared volume that was copied from another one", () => {
  const clone = { source: { clone: { name: "template" } } };
  const there = { STORAGE_VOL_LOOKUP_BY_NAME: () => ({ vol }) };
  for (const [sentence, code, expected] of [
    ["is waited for while libvirt still writes it", "OPERATION_INVALID", [["VolumeIncomplete", undefined]]],
    ["is there once it does not any more", "INVALID_ARG", []],
  ] as const)
    test(sentence, async () => {
      assert.deepEqual(await found({ ...there, STORAGE_VOL_RESIZE: throws(code) }, clone, false), expected);
    });
});
