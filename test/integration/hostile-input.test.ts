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
  /** Rejects when the controller has ended. */
  let died: Promise<unknown> = Promise.resolve();
  let watching: Promise<void>;
  const ended = new AbortController();
  const resources = new Map<string, Resource>();
  const waiting = new Set<() => void>();
  before(async () => {
    installation = await startInstallation();
    const { api, libvirtd } = installation;
    client = new KubernetesClient(await loadCredentials({ path: api.kubeconfig }));
    libvirt = await Connection.open(libvirtd.uri("test"));
    await start();
    const reflector = new Reflector<Resource>({
      client,
      type: virtualMachineResource,
      trim: (object) => object as Resource,
      onError: (error) => assert.fail(String(error)),
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

  async function start(): Promise<void> {
    controller = await installation.controller("test", "--allow-definitions");
    died = controller.logged(() => false);
    died.catch(() => {});
  }

  /** Resolves once a resource is as it should be; rejects when the controller ends before. */
  async function until(name: string, fits: (resource: Resource) => boolean): Promise<Resource> {
    const found = new Promise<Resource>((resolve) => {
      const look = () => {
        const resource = resources.get(name);
        if (resource === undefined || !fits(resource)) return;
        waiting.delete(look);
        resolve(resource);
      };
      waiting.add(look);
      look();
    });
    await Promise.race([found, died]);
    return found;
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
    const started = await libvirt.call(procedures.domainCreateWithFlags, { dom, flags: 0 });
    await create(name);
    await until(name, (resource) => condition(resource, "Ready")?.status === "True");
    return started.dom;
  }

  let requests = 0;

  /** Asks for a restart as one should. */
  async function request(name: string): Promise<string> {
    requests += 1;
    const token = `request ${requests}`;
    const others = Object.values(annotations).map((annotation) => [annotation, null]);
    await annotate(name, { ...Object.fromEntries(others), [annotations.restart]: token });
    return token;
  }

  /** A valid request after whatever came before it is served. */
  async function isServed(name: string, asked?: string): Promise<Resource> {
    const token = asked ?? (await request(name));
    const served = await until(name, ({ status }) => status.observedRestartToken === token);
    const { result, message } = served.status.lastRestart ?? {};
    assert.equal(result, "Succeeded", `${name}: ${message}`);
    return served;
  }

  async function restartController(): Promise<void> {
    await controller.stop();
    isCalm();
    await start();
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

  /** Specs that the API server refuses, and in which words. */
  const refusedSpecs: [sentence: string, spec: object, message: RegExp][] = [
    ...Object.entries({ ...unprintable, "a slash": "a/b" })
      .filter(([what]) => what !== "a mark of direction")
      .flatMap(([what, text]): [string, object, RegExp][] => [
        [`a domain's name with ${what}`, { domain: { name: text } }, /spec\.domain\.name.*should match/],
        [
          `a volume's name with ${what}`,
          { volumes: [{ pool: "p", name: text, capacity: "1G" }] },
          /spec\.volumes\[0\]\.name.*should match/,
        ],
        [
          `a backing volume's name with ${what}`,
          { volumes: [{ pool: "p", name: "v", source: { backing: { name: text } } }] },
          /backing\.name.*should match/,
        ],
        [
          `the name of a volume to clone with ${what}`,
          { volumes: [{ pool: "p", name: "v", source: { clone: { name: text } } }] },
          /clone\.name.*should match/,
        ],
      ]),
    [
      "a pool's name with a NUL",
      { volumes: [{ pool: "a\0", name: "v", capacity: "1G" }] },
      /pool.*should match/,
    ],
    [
      "a backing pool's name with a NUL",
      { volumes: [{ pool: "p", name: "v", source: { backing: { pool: "a\0", name: "v" } } }] },
      /backing\.pool.*should match/,
    ],
    ["an empty name of a domain", { domain: { name: "" } }, /spec\.domain\.name.*at least 1 char/],
    ["a megabyte as a domain's name", { domain: { name: "x".repeat(2 ** 20) } }, /Too long.*253/],
    ...Object.entries({ ...odd, ...unprintable, "upper case": "6695EB01-F6A4-8304-79AA-97F2502E193F" }).map(
      ([what, uuid]): [string, object, RegExp] => [
        `a UUID with ${what}`,
        { domain: { uuid } },
        /spec\.domain\.uuid.*should match/,
      ],
    ),
    ["a generation beyond 2^53", { restartGeneration: 2 ** 53 }, /restartGeneration.*less than or equal to/],
    ["a generation with a fraction", { restartGeneration: 1.5 }, /restartGeneration.*integer/],
    ["a generation as text", { restartGeneration: "1" }, /restartGeneration.*integer/],
    ["a definition of megabytes", { definition: { xml: "x".repeat(2 ** 21) } }, /definition\.xml: Too long/],
    [
      "more volumes than a machine may have",
      { volumes: Array.from({ length: 65 }, (_, n) => ({ pool: "p", name: `${n}`, capacity: "1G" })) },
      /must have at most 64 items/,
    ],
  ];
  for (const [sentence, spec, message] of refusedSpecs) {
    test(`into a spec is refused by the API server: ${sentence}`, async () => {
      await assert.rejects(create("refused", spec), (error: Error) => {
        assert.match(error.message, message);
        assert.ok(error.message.length < 4000, `${error.message.length} characters`);
        return true;
      });
    });
  }

  test("into annotations beyond what an object may have is refused by the API server", async () => {
    await create("full");
    const values = { [annotations.restart]: "x".repeat(262_145) };
    await assert.rejects(
      annotate("full", values),
      /annotations: Too long: may not be more than 262144 bytes/,
    );
  });

  test("into the name of a domain is a domain that does not exist", async () => {
    const names = Object.values(odd).filter((name) => !name.includes("/"));
    await Promise.all(names.map((name, index) => create(`named-${index}`, { domain: { name } })));
    await Promise.all(
      names.map(async (_name, index) => {
        const missing = await until(`named-${index}`, (one) => condition(one, "Bound") !== undefined);
        assert.equal(condition(missing, "Bound")?.reason, "DomainNotFound");
      }),
    );
    isCalm();
  });

  const time = "2026-11-22T12:00:00Z";
  const attempt = (id: string, recordedIn?: string) => ({
    id,
    request: { restartToken: "a\u001Bb", requestedAt: time },
    mode: "Hard",
    stage: "Starting",
    stageStartedAt: time,
    startedAt: time,
    recordedIn,
  });
  const record = (text: string) => ({
    id: text,
    request: { restartToken: text, requestedAt: time },
    result: "Failed",
    evidence: [],
    reason: text.slice(0, 100),
    message: text.slice(0, 1000),
    startedAt: time,
    endedAt: time,
  });
  const statuses: [sentence: string, status: object][] = [
    ["a request with a NUL", { request: { restartToken: "a\0b", requestedAt: time } }],
    ["a request with an escape sequence", { request: { restartToken: "\u001B[2J", requestedAt: time } }],
    ["a token with a NUL as the one served last", { observedRestartToken: "a\0b" }],
    ["half a megabyte as the token served last", { observedRestartToken: "x".repeat(2 ** 19) }],
    ["a generation beyond 2^53 as the one served last", { observedRestartGeneration: 2 ** 53 }],
    ["a generation below 0", { observedRestartGeneration: -7, observedGeneration: -7 }],
    ["an attempt that nobody began", { attempt: attempt("../x") }],
    ["an attempt with a NUL that is said to be on the domain", { attempt: attempt("a\0b", "Domain") }],
    ["an attempt with a NUL that is on no other record", { attempt: attempt("a\0b", "Status") }],
    ["an attempt of a name of JavaScript's own", { attempt: attempt("__proto__", "Status") }],
    [
      "a history of half a megabyte",
      { history: Array.from({ length: 10 }, () => record("x".repeat(50_000))) },
    ],
    ["a history of names of JavaScript's own", { history: [record("__proto__"), record("constructor")] }],
    [
      "a domain of another name",
      { domain: { uuid: "__proto__", id: 2 ** 53, state: "Crashed", reason: "\0" } },
    ],
    [
      "five hundred conditions",
      {
        conditions: Array.from({ length: 500 }, (_, index) => ({
          type: `T${index}`,
          status: "True",
          observedGeneration: 1,
          lastTransitionTime: time,
          reason: "\u001B[2J",
          message: "x".repeat(1000),
        })),
      },
    ],
    [
      "changes, volumes and findings that nobody found",
      {
        pendingChanges: ["\0"],
        detachedVolumes: [{ disk: "\0", reason: "__proto__", message: "\u001B[2J" }],
        findings: [{ reason: "__proto__", path: "\0", message: "\0", remedy: "\0" }],
      },
    ],
  ];
  test("into the status is put right, and loses no later request", async () => {
    const nameOf = (index: number) => `status-${index}`;
    await Promise.all(statuses.map((_status, index) => machine(nameOf(index))));
    const write = () =>
      Promise.all(
        statuses.map(async ([sentence, status], index) => {
          await patch(nameOf(index), { status }, "status").catch((error: unknown) => {
            throw new Error(`${sentence} cannot be written at all`, { cause: error });
          });
        }),
      );
    // Under the eyes of the controller, which knows better, and for one that knows nothing else.
    await write();
    await Promise.all(statuses.map((_status, index) => isServed(nameOf(index))));
    await controller.stop();
    isCalm();
    await write();
    const asked = await Promise.all(statuses.map((_status, index) => request(nameOf(index))));
    await start();
    await Promise.all(asked.map((token, index) => isServed(nameOf(index), token)));
    assert.ok((await memoryMiB()) < mostMemoryMiB, `${await memoryMiB()} MiB`);
    isCalm();
  });

  /** Marks that somebody wrote into the metadata of a domain: with `uid` and `owner` of its resource. */
  const marksOf = (cluster: string, uid: string, owner: string): [sentence: string, xml: string][] => {
    const mark = (changes: Readonly<Record<string, string>>) => {
      const values = {
        attempt: "0123456789abcdef0123456789abcdef",
        cluster,
        resource: uid,
        owner,
        restartToken: "x",
        requestedAt: time,
        startedAt: time,
        ...changes,
      };
      return `<request ${Object.entries(values)
        .map(([name, value]) => `${name}="${value}"`)
        .join(" ")}/>`;
    };
    return [
      ["nothing", "<request/>"],
      ["text", "<request>x</request>"],
      ["an owner without a name", mark({ owner: "nobody", resource: "other" })],
      ["an owner that leads elsewhere", mark({ owner: "default/..", resource: "other" })],
      ["an owner that is gone", mark({ owner: "default/gone", resource: "other" })],
      ["a time that is none", mark({ requestedAt: "yesterday", startedAt: time })],
      ["a time of no year", mark({ startedAt: "9999-12-31T23:59:59-01:00" })],
      ["an attempt of another length", mark({ attempt: "x" })],
      ["a generation beyond 2^53", mark({ restartGeneration: "9007199254740993" })],
      ["a generation that is none", mark({ restartGeneration: "NaN" })],
      [
        "the highest generation",
        mark({ restartGeneration: "9007199254740991", servedGeneration: "9007199254740991" }),
      ],
      ["a token of lines", mark({ restartToken: "a&#10;b&#9;c", servedToken: "&#10;" })],
      ["a token of sixty thousand characters", mark({ restartToken: "x".repeat(60_000) })],
      ["a token of sixty thousand brackets", mark({ servedToken: "&lt;".repeat(15_000) })],
      ["a megabyte", mark({ restartToken: "x".repeat(2 ** 20) })],
      [
        "five thousand attributes",
        mark(Object.fromEntries(Array.from({ length: 5000 }, (_, n) => [`a${n}`, ""]))),
      ],
      // With more, libvirt's own parser takes minutes.
      [
        "twenty thousand attributes",
        mark(Object.fromEntries(Array.from({ length: 20_000 }, (_, n) => [`a${n}`, ""]))),
      ],
      ["two hundred levels", `${"<request>".repeat(200)}${"</request>".repeat(200)}`],
      ["a result that it has not", mark({ result: "Won", method: "Magic" })],
      ["joined tokens that are no list", mark({ joinedTokens: "{&quot;__proto__&quot;:1}" })],
      ["joined tokens with a NUL", mark({ joinedTokens: "[&quot;\\u0000&quot;]" })],
    ];
  };
  /** What makes a domain's XML too much to read. */
  const tooMuch: ReadonlySet<string> = new Set([
    "a megabyte",
    "five thousand attributes",
    "twenty thousand attributes",
  ]);

  /** Removes what somebody wrote, and has the domain looked at: libvirt tells of metadata, but nobody listens. */
  async function removeMark(dom: Domain): Promise<void> {
    for (const flags of [Affect.Live, Affect.Config]) {
      const element = { dom, type: MetadataType.Element, uri: requestMarkUri, flags };
      await libvirt.call(procedures.domainSetMetadata, element);
    }
    await libvirt.call(procedures.domainSuspend, { dom });
    await libvirt.call(procedures.domainResume, { dom });
  }

  test("into a domain's metadata is no mark, or one that is brought to its end, and loses no later request", async () => {
    const cluster = await clusterUid(client, { signal: ended.signal, onError: () => {} });
    const count = marksOf("", "", "").length;
    const named = await Promise.all(Array.from({ length: count }, (_, index) => machine(`mark-${index}`)));
    const others = await Promise.all(Array.from({ length: count }, (_, index) => machine(`orphan-${index}`)));
    // Those are nobody's from now on.
    await Promise.all(
      others.map(async ({ name }) => {
        await client.delete(virtualMachineResource, referenceTo(name));
      }),
    );
    await controller.stop();
    isCalm();
    for (const [index, dom] of [...named.entries(), ...others.entries()]) {
      const uid = resources.get(dom.name)?.metadata.uid ?? "gone";
      const [sentence, metadata] = marksOf(cluster, uid, `default/${dom.name}`)[index] ?? ["", ""];
      const element = { dom, type: MetadataType.Element, uri: requestMarkUri, key: "warmboot", metadata };
      for (const flags of [Affect.Live, Affect.Config]) {
        await libvirt.call(procedures.domainSetMetadata, { ...element, flags }).catch((error: unknown) => {
          throw new Error(`libvirt does not take ${sentence}`, { cause: error });
        });
      }
    }
    await start();
    for (const [index, dom] of named.entries()) {
      const [sentence = ""] = marksOf(cluster, "", "")[index] ?? [];
      if (tooMuch.has(sentence)) {
        const told = await until(dom.name, (one) => condition(one, "Ready")?.status === "False");
        assert.match(
          condition(told, "Ready")?.message ?? "",
          /cannot be read: the XML has \d+ .*at most/,
          sentence,
        );
        await removeMark(dom);
      }
      const served = await isServed(dom.name);
      assert.equal(condition(served, "Ready")?.status, "True", sentence);
    }
    assert.ok((await memoryMiB()) < mostMemoryMiB, `${await memoryMiB()} MiB`);
    await restartController();
  });

  const longest = (piece: string, end = "") =>
    piece.repeat(Math.floor((longestDefinition - end.length) / piece.length)) + end;
  const domain = (inside: string) =>
    `<domain type='test'><memory>8192</memory><os><type>hvm</type></os>${inside}</domain>`;
  const definitions: [sentence: string, xml: string][] = [
    ...Object.entries({ ...odd, ...unprintable }),
    ["a domain with a NUL", domain("<description>\0</description>")],
    ["a domain with a reference to a NUL", domain("<description>&#0;</description>")],
    [
      "a document type with entities that multiply",
      `<!DOCTYPE domain [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><domain>&b;</domain>`,
    ],
    [
      "an entity of a file",
      `<!DOCTYPE domain [<!ENTITY a SYSTEM "file:///etc/passwd">]><domain>&a;</domain>`,
    ],
    ["depth without end", longest("<a>")],
    ["two hundred thousand brackets", "<".repeat(200_000)],
    ["elements without end", longest("<a/>")],
    [
      "attributes without end",
      `<domain ${Array.from({ length: 30_000 }, (_, n) => `a${n}=''`)
        .join(" ")
        .slice(0, 200_000)}/>`,
    ],
    ["white space without end", longest(" ")],
    ["another document", "<network><name>x</name></network>"],
    ["a domain without anything", "<domain/>"],
    [
      "names of JavaScript's own",
      "<domain type='__proto__'><constructor/><__proto__ toString='x'/></domain>",
    ],
    ["memory beyond 2^64", domain("").replace("8192", "99999999999999999999999")],
    ["less than no memory", domain("").replace("8192", "-1")],
    ["another domain's name", domain("<name>test</name>")],
  ];
  test("into a definition is told as a condition, touches no guest, and loses no later request", async () => {
    const nameOf = (index: number) => `defined-${index}`;
    const doms = await Promise.all(definitions.map((_definition, index) => machine(nameOf(index))));
    await Promise.all(
      definitions.map(async ([, xml], index) => {
        await patch(nameOf(index), { spec: { definition: { xml } } });
        await annotate(nameOf(index), { [annotations.restart]: "now" });
      }),
    );
    await Promise.all(
      definitions.map(async ([sentence], index) => {
        const stalled = await until(nameOf(index), (one) => condition(one, "Stalled") !== undefined);
        assert.equal(condition(stalled, "Stalled")?.reason, "PreflightFailed", sentence);
        assert.match(
          condition(stalled, "Stalled")?.message ?? "",
          /nothing is done to it: (the definition (cannot be read|is (not )?that of)|libvirt refuses the definition)/,
          sentence,
        );
        assert.equal(stalled.status.domain?.id, doms[index]?.id, sentence);
      }),
    );
    await Promise.all(
      definitions.map(async (_definition, index) => {
        await patch(nameOf(index), { spec: { definition: null } });
        await isServed(nameOf(index));
      }),
    );
    assert.ok((await memoryMiB()) < mostMemoryMiB, `${await memoryMiB()} MiB`);
    await restartController();
    const blocked = await told("RestartBlocked");
    assert.deepEqual(
      definitions.map((_definition, index) => blocked.get(nameOf(index))),
      definitions.map(() => 1),
    );
  });
});
