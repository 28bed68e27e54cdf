import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, describe, test } from "node:test";
import { Affect, Connection, MetadataType, procedures, type Domain } from "libvirt";
import { requestMarkUri } from "../../controller/ports.ts";
import { longestDefinition } from "../../crds/machine.ts";
import { annotations, virtualMachineResource, type VirtualMachine } from "../../crds/virtual-machine.ts";
import { KubernetesClient } from "../../src/kubernetes/client.ts";
import { clusterUid } from "../../src/kubernetes/cluster.ts";
import { EVENTS } from "../../src/kubernetes/event-object.ts";
import { loadCredentials } from "../../src/kubernetes/load.ts";
import { Reflector } from "../../src/kubernetes/reflector.ts";
import type { KubernetesObject } from "../../src/kubernetes/resource.ts";
import type { ControllerProcess } from "../support/controller.ts";
import { startInstallation, type Installation } from "../support/installation.ts";

/** Texts by what they are. */
type Texts = Readonly<Record<string, string>>;

/** What nobody should write, and some do. */
const odd: Texts = {
  "blank characters": "   ",
  "a name of JavaScript's own": "__proto__",
  "another name of JavaScript's own": "constructor",
  "a number beyond 2^53": "9007199254740993",
  "half a character": "\uD800",
  "the word undefined": "undefined",
  "the word null": "null",
  "pieces of XML": `"><request attempt='x'/>&entity;]]>`,
  "pieces of templates": "${process.exit()}`{{.}}%s%n",
  "a path": "../../../etc/passwd",
};
const unprintable: Texts = {
  "a NUL": "a\0b",
  "an escape sequence that clears a screen": "\u001B[2J",
  "a line's end": "a\nb",
  "a mark of direction": "a\u202Eb",
};
const long: Texts = {
  "one character too many": "x".repeat(257),
  "one character too many within another": `${"x".repeat(255)}🚀🚀`,
  "nearly all that annotations may have": "x".repeat(250_000),
};
const nothing: Texts = { nothing: "" };

/** What somebody writes into the annotations of a resource, and what is expected of it. */
interface Case {
  readonly sentence: string;
  readonly values: Readonly<Record<string, string>>;
  readonly expected: { readonly refused: RegExp } | { readonly served: string } | "Nothing";
}

const cases: readonly Case[] = [
  ...Object.entries(odd).map(([what, token]) => ({
    sentence: `restart with ${what}`,
    values: { [annotations.restart]: token },
    expected: { served: token.toWellFormed() },
  })),
  ...tableOf("restart", unprintable, {}, { refused: /cannot be printed/ }),
  ...tableOf("restart", long, {}, { refused: /at most 256/ }),
  ...tableOf("restart", nothing, {}, "Nothing"),
  ...tableOf(
    "restartMode",
    { ...odd, ...unprintable, ...long, "a word in lower case": "hard" },
    { [annotations.restart]: "now" },
    { refused: /it can be Auto, Soft or Hard/ },
  ),
  ...(["cancel", "skipInterval"] as const).flatMap((annotation) =>
    tableOf(
      annotation,
      { ...odd, ...unprintable, ...long, ...nothing },
      { [annotations.restart]: "now" },
      { served: "now" },
    ),
  ),
];

function tableOf(
  annotation: keyof typeof annotations,
  texts: Texts,
  others: Case["values"],
  expected: Case["expected"],
): Case[] {
  return Object.entries(texts).map(([what, value]) => ({
    sentence: `${annotation} with ${what}`,
    values: { ...others, [annotations[annotation]]: value },
    expected,
  }));
}

type Resource = KubernetesObject & Pick<VirtualMachine, "spec" | "status">;

/** More than it needs for a hundred resources; less than what it would take to keep what is hostile here. */
const mostMemoryMiB = 400;

describe("what others write, on a real API server and libvirt's test driver", () => {
  let installation: Installation;
  let client: KubernetesClient;
  let libvirt: Connection;
  let controller: ControllerProcess;
  let watching: Promise<void>;
  const ended = new AbortController();
  const resources = new Map<string, Resource>();
  const waiting = new Set<() => void>();
  before(async () => {
    installation = await startInstallation();
    const { api, libvirtd } = installation;
    client = new KubernetesClient(await loadCredentials({ path: api.kubeconfig }));
    libvirt = await Connection.open(libvirtd.uri("test"));
    controller = await installation.controller("test");
    const reflector = new Reflector<Resource>({
      client,
      type: virtualMachineResource,
      trim: (object) => object as Resource,
      onEvent: ({ type, object }) => {
        const name = object.metadata.name ?? "";
        if (type === "Deleted") resources.delete(name);
        else resources.set(name, object);
        for (const look of waiting) look();
      },
    });
    watching = reflector.run(ended.signal);
  });
  after(async () => {
    ended.abort();
    await watching;
    await controller.stop();
    await libvirt.close();
    await client.close();
    await installation.close();
  });

  /** Resolves once a resource is as it should be. */
  function until(name: string, fits: (resource: Resource) => boolean): Promise<Resource> {
    return new Promise((resolve) => {
      const look = () => {
        const resource = resources.get(name);
        if (resource === undefined || !fits(resource)) return;
        waiting.delete(look);
        resolve(resource);
      };
      waiting.add(look);
      look();
    });
  }

  const referenceTo = (name: string) => ({ namespace: "default", name });
  const create = (name: string, spec: object = {}) =>
    client.create(virtualMachineResource, { metadata: referenceTo(name), spec } as KubernetesObject);
  const patch = (name: string, change: object, subresource?: "status") =>
    client.mergePatch(virtualMachineResource, referenceTo(name), change, {
      ...(subresource && { subresource }),
    });
  const annotate = (name: string, values: Readonly<Record<string, string | null>>) =>
    patch(name, { metadata: { annotations: values } });
  const condition = ({ status }: Resource, type: string) =>
    status.conditions?.find((one) => one.type === type);

  /** A running domain, and its resource, of which the controller has taken note. */
  async function machine(name: string): Promise<Domain> {
    const xml = `<domain type='test'><name>${name}</name><memory>8192</memory><os><type>hvm</type></os></domain>`;
    const { dom } = await libvirt.call(procedures.domainDefineXmlFlags, { xml, flags: 0 });
    await libvirt.call(procedures.domainCreateWithFlags, { dom, flags: 0 });
    await create(name);
    await until(name, (resource) => condition(resource, "Ready")?.status === "True");
    return dom;
  }

  let requests = 0;

  /** A valid request after whatever came before it is served. */
  async function isServed(name: string): Promise<Resource> {
    requests += 1;
    const token = `request ${requests}`;
    const others = Object.values(annotations).map((annotation) => [annotation, null]);
    await annotate(name, { ...Object.fromEntries(others), [annotations.restart]: token });
    const served = await until(name, ({ status }) => status.observedRestartToken === token);
    assert.equal(
      served.status.lastRestart?.result,
      "Succeeded",
      `${name}: ${served.status.lastRestart?.message}`,
    );
    return served;
  }

  async function restartController(): Promise<void> {
    await controller.stop();
    isCalm();
    controller = await installation.controller("test");
  }

  /** The controller has met nothing that it did not expect. */
  function isCalm(): void {
    const failures = controller.lines.filter(({ err, level }) => err !== undefined || level === "fatal");
    assert.deepEqual(failures, []);
  }

  async function memoryMiB(): Promise<number> {
    const status = await readFile(`/proc/${controller.pid}/status`, "utf8");
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
  }

  /** How often each resource was told of a reason, by Events of all processes. */
  async function told(reason: string): Promise<Map<string, number>> {
    type Told = KubernetesObject & {
      reason: string;
      regarding: { name: string };
      series?: { count: number };
    };
    const { items } = await client.list<Told>(EVENTS, { namespace: "default" });
    const counts = new Map<string, number>();
    for (const { regarding, series } of items.filter((event) => event.reason === reason))
      counts.set(regarding.name, (counts.get(regarding.name) ?? 0) + (series?.count ?? 1));
    return counts;
  }

  test("into annotations is served or refused as it says, told once, and loses no later request", async () => {
    const nameOf = (index: number) => `case-${index}`;
    await Promise.all(cases.map((_case, index) => machine(nameOf(index))));
    await Promise.all(cases.map(({ values }, index) => annotate(nameOf(index), values)));
    await Promise.all(
      cases.map(async ({ sentence, expected }, index) => {
        if (expected === "Nothing") return;
        if ("served" in expected) {
          const served = await until(
            nameOf(index),
            ({ status }) => status.observedRestartToken === expected.served,
          );
          assert.equal(served.status.lastRestart?.result, "Succeeded", sentence);
          return;
        }
        const refused = await until(
          nameOf(index),
          (resource) => condition(resource, "Stalled") !== undefined,
        );
        assert.equal(condition(refused, "Stalled")?.reason, "InvalidRestartRequest", sentence);
        assert.match(condition(refused, "Stalled")?.message ?? "", expected.refused, sentence);
      }),
    );
    // Another process tells nothing again.
    await restartController();
    const later = await Promise.all(cases.map((_case, index) => isServed(nameOf(index))));
    assert.ok((await memoryMiB()) < mostMemoryMiB, `${await memoryMiB()} MiB`);
    // Events are sent at the latest when the controller ends.
    await restartController();
    const refusals = await told("InvalidRestartRequest");
    for (const [index, { sentence, expected }] of cases.entries()) {
      const wasServed = typeof expected === "object" && "served" in expected;
      assert.equal(later[index]?.status.history?.length, wasServed ? 2 : 1, sentence);
      const wasRefused = typeof expected === "object" && "refused" in expected;
      assert.equal(refusals.get(nameOf(index)) ?? 0, wasRefused ? 1 : 0, sentence);
    }
  });
});

void Affect;
void MetadataType;
void requestMarkUri;
void longestDefinition;
void clusterUid;
