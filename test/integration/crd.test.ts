import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startApiServer, type ApiServer } from "../support/apiserver.ts";
import { longestDefinition } from "../../crds/machine.ts";
import { applyManifest, readVirtualMachine, virtualMachine } from "../support/warmboot.ts";

/** So many characters of the XML that grows most in the API server's JSON. */
function denseXml(length: number): string {
  return "<a/>".repeat(Math.ceil(length / 4)).slice(0, length);
}

describe("the VirtualMachine definition on a real API server", () => {
  let api: ApiServer;
  before(async () => {
    api = await startApiServer();
    await applyManifest(api, "crds/virtualmachines.warmboot.dev.yaml");
    await api.kubectl("wait", "--for=condition=Established", "crd/virtualmachines.warmboot.dev");
  });
  after(() => api.close());

  test("a manifest with nothing but a name is complete, and nobody takes it for a current one", async () => {
    await api.apply(JSON.stringify({ ...JSON.parse(virtualMachine("bare")), spec: undefined }));
    const { spec, status } = await readVirtualMachine(api, "bare");
    assert.deepEqual(spec.restartPolicy, {
      mode: "Auto",
      soft: { via: "Shutdown", signals: ["Agent", "ACPI"], timeoutSeconds: 120, resendSeconds: 30 },
      hard: { via: "PowerCycle" },
      minIntervalSeconds: 0,
      whenPaused: "Block",
      whenBusy: "Block",
      whenSaved: "Block",
      onUnavailableVolume: "Fail",
      marks: "Domain",
    });
    assert.deepEqual(spec.volumes, []);
    assert.equal(spec.definition, undefined);
    assert.deepEqual(status, { observedGeneration: -1 });
  });

  const refused: [sentence: string, spec: Record<string, unknown>, message: RegExp][] = [
    [
      "a mode that does not exist",
      { restartPolicy: { mode: "Fast" } },
      /supported values: "Auto", "Soft", "Hard"/,
    ],
    ["a negative generation", { restartGeneration: -1 }, /greater than or equal to 0/],
    [
      "a timeout of nothing",
      { restartPolicy: { soft: { timeoutSeconds: 0 } } },
      /timeoutSeconds.*greater than or equal to 1/,
    ],
    [
      "both a name and a UUID",
      { domain: { name: "a", uuid: "6695eb01-f6a4-8304-79aa-97f2502e193f" } },
      /not both/,
    ],
    ["a UUID that is none", { domain: { uuid: "web-1" } }, /spec\.domain\.uuid/],
    [
      "a signal that does not exist",
      { restartPolicy: { soft: { signals: ["Smoke"] } } },
      /supported values: "Agent", "ACPI"/,
    ],
    ["Force in mode Soft", { restartPolicy: { mode: "Soft", whenPaused: "Force" } }, /mode Soft never does/],
    [
      "a definition that is in no place",
      { definition: {} },
      /spec\.definition: .*give either xml or configMapKeyRef, and not both/,
    ],
    [
      "a definition that is in two places",
      { definition: { xml: "<domain/>", configMapKeyRef: { name: "a", key: "b" } } },
      /spec\.definition: .*give either xml or configMapKeyRef, and not both/,
    ],
    [
      "a reference to a ConfigMap without a key",
      { definition: { configMapKeyRef: { name: "a" } } },
      /spec\.definition\.configMapKeyRef\.key: Required value/,
    ],
    ["an empty definition", { definition: { xml: "" } }, /spec\.definition\.xml.*at least 1 char/],
    [
      "an empty volume without a capacity",
      { volumes: [{ pool: "default", name: "web-1" }] },
      /spec\.volumes\[0\]: .*an empty volume needs a capacity, such as 10Gi/,
    ],
    [
      "a volume with two origins",
      {
        volumes: [
          { pool: "default", name: "web-1", source: { backing: { name: "base" }, clone: { name: "base" } } },
        ],
      },
      /spec\.volumes\[0\]\.source: .*give backing or clone, not both/,
    ],
    [
      "one volume that is declared twice",
      {
        volumes: [
          { pool: "default", name: "web-1", capacity: "1Gi" },
          { pool: "default", name: "web-1", capacity: "2Gi" },
        ],
      },
      /spec\.volumes\[1\]: Duplicate value: .*"web-1"/,
    ],
    [
      "a volume whose name leaves its pool",
      { volumes: [{ pool: "default", name: "../web-1", capacity: "1Gi" }] },
      /spec\.volumes\[0\]\.name.*should match/,
    ],
    [
      "a format that cannot be created",
      { volumes: [{ pool: "default", name: "web-1", capacity: "1Gi", format: "vmdk" }] },
      /supported values: "raw", "qcow2"/,
    ],
    [
      "a way with missing volumes that does not exist",
      { restartPolicy: { onUnavailableVolume: "Ignore" } },
      /supported values: "Fail", "Detach"/,
    ],
    ...["10 Gi", "0", "1.5Gi", "-1Gi", "10GiB", "Gi"].map(
      (capacity): [string, Record<string, unknown>, RegExp] => [
        `a capacity of ${JSON.stringify(capacity)}`,
        { volumes: [{ pool: "default", name: "web-1", capacity }] },
        /spec\.volumes\[0\]\.capacity.*should match/,
      ],
    ),
    ["a field that does not exist", { restartPolicies: {} }, /unknown field "spec\.restartPolicies"/],
  ];
  for (const [sentence, spec, message] of refused) {
    test(`${sentence} is refused with a message that helps`, async () => {
      await assert.rejects(api.apply(virtualMachine("refused", spec)), { stderr: message });
    });
  }

  test("the domain of a resource cannot be changed, and the message says what to do instead", async () => {
    await api.apply(virtualMachine("fixed", { domain: { name: "web-1" } }));
    const change = api.apply(virtualMachine("fixed", { domain: { name: "web-2" } }));
    await assert.rejects(change, { stderr: /spec\.domain cannot be changed: delete this resource/ });
  });

  test("the volumes of a machine are told apart by pool and name, and have every default filled in", async () => {
    const volumes = [
      { pool: "default", name: "web-1", capacity: "10Gi" },
      { pool: "fast", name: "web-1", capacity: "500M", format: "raw" },
      { pool: "default", name: "overlay", source: { backing: { name: "base" } } },
      { pool: "default", name: "copy", source: { clone: { pool: "fast", name: "base" } } },
    ];
    await api.apply(virtualMachine("volumes", { volumes }));
    const { spec } = await readVirtualMachine(api, "volumes");
    assert.deepEqual(spec.volumes, [
      { pool: "default", name: "web-1", capacity: "10Gi", format: "qcow2" },
      { pool: "fast", name: "web-1", capacity: "500M", format: "raw" },
      {
        pool: "default",
        name: "overlay",
        format: "qcow2",
        source: { backing: { name: "base", format: "qcow2" } },
      },
      { pool: "default", name: "copy", format: "qcow2", source: { clone: { pool: "fast", name: "base" } } },
    ]);
  });

  test("of two that apply volumes each has its own, as in a list by pool and name", async () => {
    const volume = (name: string) => ({ pool: "default", name, capacity: "1Gi" });
    for (const owner of ["one", "other"])
      await api.apply(
        virtualMachine("shared", { volumes: [volume(owner)] }),
        "--server-side",
        `--field-manager=${owner}`,
      );
    const { spec } = await readVirtualMachine(api, "shared");
    assert.deepEqual(
      spec.volumes.map(({ name }) => name),
      ["one", "other"],
    );
  });

  test("the longest definition fits into etcd, however many brackets it has", async () => {
    const xml = denseXml(longestDefinition);
    await api.apply(virtualMachine("longest", { definition: { xml } }), "--server-side");
    const { spec } = await readVirtualMachine(api, "longest");
    assert.equal(spec.definition?.xml, xml);
  });

  test("a longer one is refused by a message that names the field and the bound", async () => {
    const xml = denseXml(longestDefinition + 1);
    const apply = api.apply(virtualMachine("too-long", { definition: { xml } }), "--server-side");
    await assert.rejects(apply, {
      stderr: /spec\.definition\.xml: Too long: may not be more than 262144/,
    });
  });

  test("kubectl explain teaches where a definition may be, and how a ConfigMap comes to be read", async () => {
    const text = (await api.kubectl("explain", "virtualmachine.spec.definition")).replaceAll(/\s+/g, " ");
    assert.match(
      text,
      /The domain XML that the machine should have\. A restart by shutdown or power cycle makes/,
    );
    assert.match(text, /kubectl label configmap NAME warmboot\.dev\/definition=/);
    assert.match(text, /kubectl apply --server-side/);
    assert.match(await api.kubectl("explain", "wvm.spec.volumes.capacity"), /such as\s+10Gi/);
  });

  test("kubectl explain teaches what the policy means", async () => {
    const text = await api.kubectl("explain", "virtualmachine.spec.restartPolicy");
    assert.match(text, /power-cycled when it does not\s+within soft\.timeoutSeconds/);
    assert.match(text, /enum: Auto, Soft, Hard/);
  });
});
