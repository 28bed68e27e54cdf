import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startApiServer, type ApiServer } from "../support/apiserver.ts";
import { applyManifest, readVirtualMachine, virtualMachine } from "../support/warmboot.ts";

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
      marks: "Domain",
    });
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

  test("kubectl explain teaches what the policy means", async () => {
    const text = await api.kubectl("explain", "virtualmachine.spec.restartPolicy");
    assert.match(text, /power-cycled when it does not\s+within soft\.timeoutSeconds/);
    assert.match(text, /enum: Auto, Soft, Hard/);
  });
});
