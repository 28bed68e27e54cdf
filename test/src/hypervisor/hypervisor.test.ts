import assert from "node:assert/strict";
import { once, EventEmitter } from "node:events";
import { describe, test } from "node:test";
import { ErrorCode, events, hostEvents, procedures, Session } from "libvirt";
import type { Look, Outcome } from "../../../controller/ports.ts";
import { LibvirtHypervisor } from "../../../src/hypervisor/hypervisor.ts";
import { connectionProcedures as opening } from "../../../src/libvirt/protocol/procedures.ts";
import { Refusal, rule, ScriptedDaemon, type Rule, type ScriptedClient } from "../libvirt/peer.ts";

const uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f";
const reference = { kind: "UUID", uuid } as const;
const xml = (agent = "connected") => `<domain type='qemu'><name>vm</name><devices>
  <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='${agent}'/></channel>
  <disk type='file'><source file='/vm'/><target dev='vda'/></disk></devices></domain>`;

/** A daemon with one domain, whose state a test changes. */
class OneDomain implements AsyncDisposable {
  /** Undefined while the domain is off. */
  id: number | undefined = 1;
  readonly daemon: ScriptedDaemon;
  readonly hypervisor: LibvirtHypervisor;
  readonly #rules: readonly Rule[];
  readonly #clients: ScriptedClient[] = [];
  readonly #changes = new EventEmitter();

  /** Rules of a test's own come first. */
  static async start(...rules: readonly Rule[]): Promise<OneDomain> {
    return new OneDomain(await ScriptedDaemon.listen(), rules);
  }

  private constructor(daemon: ScriptedDaemon, rules: readonly Rule[]) {
    this.daemon = daemon;
    this.#rules = [...rules, ...this.#ordinary()];
    void this.#serve();
    this.hypervisor = new LibvirtHypervisor(
      (listener) => new Session(daemon.uri, { listener }),
      (changed) => this.#changes.emit(typeof changed === "string" ? changed : changed.name),
    );
  }

  get dom() {
    return { name: "vm", uuid, id: this.id };
  }

  /** Connects, and resolves when the controller has been told. */
  async connect(): Promise<void> {
    const told = once(this.#changes, "All");
    this.hypervisor.start();
    await told;
  }

  /** Resolves when the controller is told that the domain, or what depends on the host, wants to be looked at. */
  async changed(what: "vm" | "Host" = "vm"): Promise<void> {
    await once(this.#changes, what);
  }

  /** Tells all connections that listen; the client drops what it did not register for. */
  networkStarted(): void {
    const change = { callbackId: 0, net: { name: "default", uuid }, event: 2, detail: 0 };
    for (const client of this.#clients) client.event(hostEvents.networkLifecycle, change);
  }

  /** The same; resolves once they have heard of it. */
  async stopped(): Promise<void> {
    for (const client of this.#clients)
      client.event(events.lifecycle, { callbackId: 0, dom: this.dom, event: 5, detail: 0 });
    await Promise.all(this.#clients.map((client) => client.hasRead()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hypervisor.close();
    await this.daemon.close();
  }

  async #serve(): Promise<void> {
    for (;;) {
      const client = await this.daemon.accept();
      this.#clients.push(client);
      void client.serve(this.#rules);
    }
  }

  #ordinary(): Rule[] {
    const off = () => new Refusal(ErrorCode.OPERATION_INVALID);
    const state = () => (this.id === undefined ? { state: 5, reason: 1 } : { state: 1, reason: 1 });
    const int = (field: string, value: number) => ({ field, value: { type: "int", value } as const });
    return [
      rule(opening.authList, () => ({ types: [0] })),
      rule(opening.connectSupportsFeature, () => ({ supported: 1 })),
      rule(opening.connectOpen, () => ({})),
      rule(opening.connectClose, () => ({})),
      rule(procedures.connectDomainEventCallbackRegisterAny, ({ eventId }) => ({ callbackId: eventId })),
      rule(procedures.connectGetAllDomainStats, () => {
        const params = [int("state.state", state().state), int("state.reason", state().reason)];
        return { retStats: [{ dom: this.dom, params }] };
      }),
      rule(procedures.connectGetHostname, () => ({ hostname: "host" })),
      rule(procedures.connectGetLibVersion, () => ({ libVer: 9_000_000n })),
      rule(procedures.connectGetUri, () => ({ uri: "qemu:///system" })),
      rule(procedures.domainLookupByUuid, () => ({ dom: this.dom })),
      rule(procedures.domainGetState, state),
      rule(procedures.domainIsPersistent, () => ({ persistent: 1 })),
      rule(procedures.domainGetMetadata, () => new Refusal(ErrorCode.NO_DOMAIN_METADATA)),
      rule(procedures.domainGetXmlDesc, () => ({ xml: xml() })),
      rule(procedures.domainGetJobStats, () => (this.id === undefined ? off() : { type: 0, params: [] })),
      rule(procedures.domainGetBlockJobInfo, () =>
        this.id === undefined ? off() : { found: 0, type: 0, bandwidth: 0n, cur: 0n, end: 0n },
      ),
      rule(procedures.domainGetTime, () => ({ seconds: 0n, nseconds: 0 })),
    ];
  }
}

function present(look: Look): Look & { kind: "Present" } {
  assert.equal(look.kind, "Present", JSON.stringify(look));
  return look;
}

describe("a look at a domain", () => {
  test("that goes off while it is asked for its jobs finds it off", async () => {
    const jobStats = rule(procedures.domainGetJobStats, () => {
      world.id = undefined;
      return new Refusal(ErrorCode.OPERATION_INVALID);
    });
    await using world = await OneDomain.start(jobStats);
    await world.connect();
    const { domain } = present(await world.hypervisor.look(reference, { jobs: true }));
    assert.equal(domain.state, "Shutoff");
  });

  test("that stops while its answers are on their way finds it off, not a boot that runs after its own end", async () => {
    let looks = 0;
    const state = rule(procedures.domainGetState, async () => {
      looks += 1;
      if (looks > 1) return { state: 5, reason: 1 };
      await world.stopped();
      world.id = undefined;
      return { state: 1, reason: 1 };
    });
    await using world = await OneDomain.start(state);
    await world.connect();
    const { domain } = present(await world.hypervisor.look(reference, {}));
    assert.equal(domain.id, undefined);
    assert.equal(domain.state, "Shutoff");
    assert.notEqual(domain.lastStop, undefined);
  });

  test("whose XML cannot be read is an answer, not an exception", async () => {
    await using world = await OneDomain.start(rule(procedures.domainGetXmlDesc, () => ({ xml: "<a" })));
    await world.connect();
    const look = await world.hypervisor.look(reference, {});
    assert.ok(look.kind === "Unreachable");
    assert.equal(look.reason, "DomainUnreadable");
    assert.match(look.message, /XML of the domain cannot be read/);
  });
});

test("a domain that was listed as running and is found dead without an event is told of", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  await using world = await OneDomain.start();
  await world.connect();
  world.id = undefined;
  const changed = world.changed();
  context.mock.timers.tick(5000);
  await changed;
  const glance = await world.hypervisor.glance(reference);
  assert.ok(glance.kind === "Present");
  assert.equal(glance.domain.state, "Shutoff");
});

test("a domain of a controller that died while it looked at a definition is removed after a while", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const removed = Promise.withResolvers<void>();
  const leftover = { name: "warmboot-check-0", uuid, id: undefined };
  await using world = await OneDomain.start(
    rule(procedures.connectGetAllDomainStats, () => ({ retStats: [{ dom: leftover, params: [] }] })),
    rule(procedures.domainGetMetadata, ({ uri }) => {
      assert.equal(uri, "https://warmboot.dev/check");
      return { metadata: "<check/>" };
    }),
    rule(procedures.domainUndefineFlags, ({ dom }) => {
      assert.equal(dom.name, leftover.name);
      removed.resolve();
      return {};
    }),
  );
  await world.connect();
  context.mock.timers.tick(5000);
  await removed.promise;
});

test("a change of what the host has is told as one of no domain, and leaves the domains as they are", async () => {
  await using world = await OneDomain.start();
  await world.connect();
  const before = await world.hypervisor.glance(reference);
  const changed = world.changed("Host");
  world.networkStarted();
  await changed;
  assert.deepEqual(await world.hypervisor.glance(reference), before);
});

describe("a guest agent", () => {
  const bootId = "0c2b5c9b-6ddb-4e43-a3f1-5d1ac0a6f9b0";
  const encoded = (text: string) => Buffer.from(text).toString("base64");
  const answer = (value: unknown) => JSON.stringify({ return: value });

  /** What a look makes of an agent that answers the reading of its boot ID so. */
  async function bootIdFrom(answers: {
    open?: string;
    read?: string | undefined;
    close?: string;
  }): Promise<Look & { kind: "Present" }> {
    const answerTo = rule(procedures.qemuDomainAgentCommand, ({ cmd }) => {
      const { execute } = JSON.parse(cmd) as { execute: string };
      if (execute === "guest-file-open") return { result: answers.open ?? answer(1000) };
      if (execute === "guest-file-read") return { result: answers.read };
      return { result: answers.close ?? answer({}) };
    });
    await using world = await OneDomain.start(answerTo);
    await world.connect();
    return present(await world.hypervisor.look(reference, { agent: "BootID" }));
  }

  test("that answers as it should tells its boot ID", async () => {
    const read = answer({ count: 37, "buf-b64": encoded(`${bootId}\n`), eof: true });
    assert.deepEqual((await bootIdFrom({ read })).agent, { bootId });
  });

  for (const [sentence, answers] of [
    ["nothing", { read: undefined }],
    ["no JSON", { read: "{" }],
    ["JSON that is no object", { read: "null" }],
    ["an error", { read: JSON.stringify({ error: { class: "GenericError", desc: "no" } }) }],
    ["another type", { read: answer({ "buf-b64": 12 }) }],
    ["no base64", { read: answer({ "buf-b64": "<script>" }) }],
    ["no UUID", { read: answer({ "buf-b64": encoded("'; DROP TABLE boots") }) }],
    ["a megabyte", { read: answer({ "buf-b64": "A".repeat(1_000_000) }) }],
    ["an endless nesting", { read: "[".repeat(900) }],
    ["a handle that is no number", { open: answer({ $gt: 0 }) }],
    ["a handle that no number holds", { open: answer(1e300) }],
  ] as const) {
    test(`that answers ${sentence} tells none, and is there all the same`, async () => {
      assert.deepEqual((await bootIdFrom(answers)).agent, { bootId: undefined });
    });
  }

  for (const [sentence, time, expected] of [
    ["does not answer libvirt", () => new Refusal(ErrorCode.AGENT_UNRESPONSIVE), "Refused"],
    ["goes away meanwhile", () => new Refusal(ErrorCode.INTERNAL_ERROR), "Refused"],
    ["answers", () => ({ seconds: 0n, nseconds: 0 }), "Done"],
  ] as const) {
    test(`that ${sentence}: its signal is ${expected}`, async () => {
      let signals = 0;
      const shutdown = rule(procedures.domainShutdownFlags, () => {
        signals += 1;
        return {};
      });
      await using world = await OneDomain.start(rule(procedures.domainGetTime, time), shutdown);
      await world.connect();
      const { domain } = present(await world.hypervisor.look(reference, {}));
      const outcome: Outcome = await world.hypervisor.perform(domain, { kind: "Shutdown", signal: "Agent" });
      assert.equal(outcome.kind, expected);
      assert.equal(signals, expected === "Done" ? 1 : 0);
    });
  }
});

test("a mark that libvirt denies is refused for good", async () => {
  const denied = rule(procedures.domainSetMetadata, () => new Refusal(ErrorCode.ACCESS_DENIED));
  await using world = await OneDomain.start(denied);
  await world.connect();
  const { domain } = present(await world.hypervisor.look(reference, {}));
  const mark = {
    attempt: "0".repeat(32),
    cluster: "cluster",
    resource: "uid",
    owner: "default/vm",
    request: { requestedAt: "2026-01-01T00:00:00Z" },
    servedBefore: {},
    startedAtMs: 0,
  };
  const outcome = await world.hypervisor.perform(domain, { kind: "Mark", mark, running: true });
  assert.ok(outcome.kind === "Refused");
  assert.equal(outcome.cause, "Denied");
});
