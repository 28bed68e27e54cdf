import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { pino } from "pino";
import type { Definition } from "../../controller/ports.ts";
import type { NoticeReason } from "../../controller/notice.ts";
import { KubernetesClient, type ListQuery, type RequestOptions } from "../../src/kubernetes/client.ts";
import { EventRecorder } from "../../src/kubernetes/events.ts";
import { loadCredentials } from "../../src/kubernetes/load.ts";
import type { Page } from "../../src/kubernetes/page.ts";
import type { KubernetesObject, ResourceType } from "../../src/kubernetes/resource.ts";
import { WorkQueue } from "../../src/kubernetes/work-queue.ts";
import { ApiVirtualMachines } from "../../src/virtual-machines.ts";
import { startApiServer, type ApiServer } from "../support/apiserver.ts";
import { installWarmboot, virtualMachine } from "../support/warmboot.ts";

const configMaps = { group: "", version: "v1", kind: "ConfigMap", plural: "configmaps" };

/** The manifest of a ConfigMap; with the label unless told. */
function configMap(name: string, data: Record<string, string>, labels = { "warmboot.dev/definition": "" }) {
  return JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, labels }, data });
}

/** A client that counts what it is sent in lists. */
class CountingClient extends KubernetesClient {
  listed: Record<string, number> = {};

  override async list<T extends KubernetesObject>(
    type: ResourceType,
    query?: ListQuery,
    options?: RequestOptions,
  ): Promise<Page<T>> {
    const page = await super.list<T>(type, query, options);
    this.listed[type.plural] = (this.listed[type.plural] ?? 0) + page.items.length;
    return page;
  }
}

/** The resources and definitions as the controller reads them with an identity, and what is queued and logged. */
async function reading(kubeconfig: string, namespace?: string) {
  const client = new CountingClient(await loadCredentials({ path: kubeconfig }));
  const stop = new AbortController();
  const recorder = { client, reportingController: "warmboot.dev/controller", reportingInstance: "test" };
  const events = new EventRecorder<NoticeReason>(recorder);
  const queue = new WorkQueue();
  const lines: string[] = [];
  const log = pino({}, { write: (line: string) => lines.push(line) });
  const allowDefinitions = true;
  const options = { client, namespace, allowDefinitions, queue, events, log, onClaim: () => {} };
  const virtualMachines = new ApiVirtualMachines(options);
  const waiting = new Set<() => void>();
  const running = [
    virtualMachines.run(stop.signal),
    queue.run(1, () => Promise.resolve(waiting.forEach((look) => look())), stop.signal),
  ];
  await virtualMachines.synced(stop.signal);
  const definition = (name: string): Definition => {
    const found = virtualMachines.get(`default/${name}`);
    return found === undefined ? { kind: "None" } : virtualMachines.definition(found);
  };
  return {
    client,
    lines,
    virtualMachines,
    /** Resolves once a definition fits; looks at it only when something is queued. */
    until: (name: string, fits: (definition: Definition) => boolean): Promise<void> =>
      new Promise((resolve) => {
        const look = () => {
          if (!fits(definition(name))) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      }),
    async [Symbol.asyncDispose]() {
      stop.abort();
      await events.close(0);
      await Promise.all(running);
      await client.close();
    },
  };
}

const given = (xml: string) => (definition: Definition) =>
  definition.kind === "Given" && definition.xml === xml;
const unavailable = (message: RegExp) => (definition: Definition) =>
  definition.kind === "Unavailable" && message.test(definition.message);

describe("definitions in ConfigMaps of a real API server", () => {
  let api: ApiServer;
  let kubeconfig: string;
  before(async () => {
    api = await startApiServer();
    kubeconfig = await installWarmboot(api);
    const configMapKeyRef = { name: "web-1", key: "domain.xml" };
    await api.apply(virtualMachine("web-1", { definition: { configMapKeyRef } }));
  });
  after(() => api.close());

  /** An identity that may read VirtualMachines, and nothing else. */
  async function olderIdentity(name: string): Promise<string> {
    const rights = ["--verb=get,list,watch", "--resource=virtualmachines.warmboot.dev"];
    await api.kubectl("create", "clusterrole", name, ...rights);
    await api.kubectl("create", "serviceaccount", name);
    const binding = [`--clusterrole=${name}`, `--serviceaccount=default:${name}`];
    await api.kubectl("create", "clusterrolebinding", name, ...binding);
    return api.kubeconfigFor(await api.serviceAccountToken("default", name));
  }

  test("appear, change, lose their label, get it again and are deleted, and each is told", async () => {
    await using world = await reading(kubeconfig);
    await world.until("web-1", unavailable(/there is no ConfigMap web-1 with the label/));
    await api.apply(configMap("web-1", { "domain.yaml": "" }));
    await world.until("web-1", unavailable(/the ConfigMap web-1 has no key domain\.xml/));
    await api.apply(configMap("web-1", { "domain.xml": "<a/>" }));
    await world.until("web-1", given("<a/>"));
    await api.apply(configMap("web-1", { "domain.xml": "<b/>" }));
    await world.until("web-1", given("<b/>"));
    await api.kubectl("label", "configmap", "web-1", "warmboot.dev/definition-");
    await world.until("web-1", unavailable(/there is no ConfigMap web-1 with the label/));
    const told = world.virtualMachines.get("default/web-1");
    assert.ok(told);
    const said = world.virtualMachines.definition(told);
    assert.ok(said.kind === "Unavailable");
    const remedy = /kubectl (label configmap .*)$/.exec(said.message)?.[1];
    assert.ok(remedy !== undefined, said.message);
    await api.kubectl(...remedy.split(" "));
    await world.until("web-1", given("<b/>"));
    await api.kubectl("delete", "configmap", "web-1");
    await world.until("web-1", unavailable(/there is no ConfigMap web-1 with the label/));
    assert.deepEqual(world.lines, []);
  });

  test("of another namespace are not taken", async () => {
    await using world = await reading(kubeconfig);
    await api.kubectl("create", "namespace", "elsewhere");
    await api.apply(configMap("web-1", { "domain.xml": "<elsewhere/>" }), "--namespace=elsewhere");
    await api.apply(configMap("web-1", { "domain.xml": "<here/>" }));
    await world.until("web-1", given("<here/>"));
    await api.kubectl("delete", "configmap", "web-1");
    await world.until("web-1", unavailable(/in the namespace default/));
  });

  test("are read, and thousands of other ConfigMaps are not", async () => {
    const admin = new KubernetesClient(await loadCredentials({ path: api.kubeconfig }));
    try {
      const others = Array.from({ length: 3000 }, (_, index) =>
        admin.create(
          configMaps,
          { metadata: { namespace: "default", name: `other-${index}` } },
          { deadlineMs: 120_000 },
        ),
      );
      await Promise.all(others);
    } finally {
      await admin.close();
    }
    await api.apply(configMap("web-1", { "domain.xml": "<domain/>" }));
    await using world = await reading(kubeconfig);
    await world.until("web-1", given("<domain/>"));
    // The one of the namespace elsewhere is the other one.
    assert.equal(world.client.listed["configmaps"], 2);
  });

  test("that may not be read stop nobody, are told once, and are read once they may be", async () => {
    await api.apply(configMap("web-1", { "domain.xml": "<domain/>" }));
    await api.apply(virtualMachine("inline", { definition: { xml: "<inline/>" } }));
    await api.apply(virtualMachine("plain"));
    await using world = await reading(await olderIdentity("older"));
    await world.until("web-1", unavailable(/cannot list resource "configmaps".*deploy\/rbac\.yaml/));
    await world.until("inline", given("<inline/>"));
    await world.until("plain", ({ kind }) => kind === "None");
    const binding = ["--clusterrole=warmboot", "--serviceaccount=default:older"];
    await api.kubectl("create", "clusterrolebinding", "newer", ...binding);
    await world.until("web-1", given("<domain/>"));
    assert.match(world.lines[0] ?? "", /"level":40.*cannot list resource/);
    assert.ok(world.lines.length <= 2, world.lines.join("\n"));
  });

  test("of one namespace need no more than a Role there", async () => {
    await api.apply(configMap("web-1", { "domain.xml": "<domain/>" }));
    const own = await olderIdentity("narrow");
    const rights = ["--verb=get,list,watch", "--resource=configmaps"];
    await api.kubectl("create", "role", "definitions", ...rights);
    const binding = ["--role=definitions", "--serviceaccount=default:narrow"];
    await api.kubectl("create", "rolebinding", "definitions", ...binding);
    await using world = await reading(own, "default");
    await world.until("web-1", given("<domain/>"));
    assert.deepEqual(world.lines, []);
  });
});
