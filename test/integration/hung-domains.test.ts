import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Session, type SessionEvent } from "libvirt";
import type { Domain, DomainReference, Glance } from "../../controller/ports.ts";
import { LibvirtHypervisor, type HypervisorChange } from "../../src/hypervisor/hypervisor.ts";
import { startHastyController } from "../support/controller.ts";
import { startInstallation, type Installation } from "../support/installation.ts";
import { startLibvirtd, type Libvirtd } from "../support/libvirtd.ts";
import { startLibvirtProxy } from "../support/proxies/libvirt-proxy.ts";
import { run } from "../support/run.ts";
import { readVirtualMachine, virtualMachine, waitForCondition, waitForStatus } from "../support/warmboot.ts";
import { disk, machine, Place } from "./preflight/workshop.ts";

/** The controller's hypervisor, with what its session and it tell, and the calls that libvirt has not answered. */
class Watched implements AsyncDisposable {
  readonly hypervisor: LibvirtHypervisor;
  readonly events: SessionEvent[] = [];
  readonly changes: HypervisorChange[] = [];
  /** Procedures of all calls about domains that were sent. */
  readonly sent: string[] = [];
  #answered = 0;
  #happened = Promise.withResolvers<void>();

  constructor(uri: string) {
    subscribe("libvirt:call", this.#count);
    this.hypervisor = new LibvirtHypervisor(
      (listener) =>
        new Session(uri, {
          reconnect: { initialDelayMs: 1 },
          listener: (event) => {
            listener(event);
            this.events.push(event);
            this.#tell();
          },
        }),
      (change) => {
        this.changes.push(change);
        this.#tell();
      },
    );
    this.hypervisor.start();
  }

  get unanswered(): number {
    return this.sent.length - this.#answered;
  }

  /** Resolves once this many events of the session of this type have come. */
  async heard(type: SessionEvent["type"], count = 1): Promise<SessionEvent> {
    for (;;) {
      const event = this.events.filter((one) => one.type === type)[count - 1];
      if (event !== undefined) return event;
      await this.#happened.promise;
    }
  }

  /** Resolves once it is told that a domain, or what concerns all, wants to be looked at, after so many changes. */
  async changed(what: string, from: number): Promise<void> {
    const isIt = (change: HypervisorChange) =>
      typeof change === "string" ? change === what : change.name === what;
    while (!this.changes.slice(from).some(isIt)) await this.#happened.promise;
  }

  async present(name: string): Promise<Domain> {
    const glance = await this.hypervisor.look(named(name), {});
    assert.ok(glance.kind === "Present", JSON.stringify(glance));
    return glance.domain;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    unsubscribe("libvirt:call", this.#count);
    await this.hypervisor.close();
  }

  readonly #count = (message: unknown) => {
    const { procedure, step } = message as { procedure: string; step: string };
    if (!procedure.startsWith("DOMAIN_")) return;
    if (step === "sent") this.sent.push(procedure);
    if (step === "reply") this.#answered += 1;
  };

  #tell(): void {
    this.#happened.resolve();
    this.#happened = Promise.withResolvers();
  }
}

function named(name: string): DomainReference {
  return { kind: "Name", name };
}

function whyUnreachable(glance: Glance): string {
  assert.ok(glance.kind === "Unreachable", JSON.stringify(glance));
  return glance.message;
}

async function define(libvirtd: Libvirtd, name: string, devices = ""): Promise<void> {
  const place = new Place(name, libvirtd.directory, libvirtd);
  await place.define("define", machine({ name }, devices, { more: "<features><acpi/></features>" }));
}

async function startMachine(libvirtd: Libvirtd, name: string): Promise<void> {
  await define(libvirtd, name);
  await libvirtd.virsh("start", name);
}

/** A domain whose start hangs in libvirt, which holds it meanwhile; gives what lets it go on to its end. */
async function startHanging(libvirtd: Libvirtd, name: string): Promise<() => Promise<void>> {
  const pipe = join(libvirtd.directory, `${name}.pipe`);
  await run("mkfifo", [pipe]);
  await define(libvirtd, name, disk("vda", pipe));
  const started = libvirtd.virsh("start", name).catch(() => undefined);
  // Opens when libvirt does.
  const writer = await open(pipe, "w");
  return async () => {
    await writer.write(Buffer.alloc(2 ** 16));
    // QEMU opens it, too, and refuses it.
    const reader = await open(pipe, "r+");
    await started;
    await Promise.all([writer.close(), reader.close()]);
  };
}

/** The daemon begins with its five workers again, and takes calls faster than the workers that it takes on begin. */
async function haveFewWorkers(libvirtd: Libvirtd): Promise<void> {
  await libvirtd.restart();
  const pid = String(libvirtd.pid);
  await run("taskset", ["--all-tasks", "--cpu-list", "--pid", "0", pid]);
  await run("chrt", ["--all-tasks", "--batch", "--pid", "0", pid]);
}

async function remove(libvirtd: Libvirtd, name: string): Promise<void> {
  await libvirtd.virsh("destroy", name).catch(() => undefined);
  await libvirtd.virsh("undefine", name);
}

describe("domains that hang", () => {
  let libvirtd: Libvirtd;
  before(async () => {
    libvirtd = await startLibvirtd();
  });
  after(() => libvirtd.close());

  test("a domain that libvirt holds keeps no other from being known, takes one call, and is looked at when it is let go", async () => {
    await startMachine(libvirtd, "healthy");
    const letGo = await startHanging(libvirtd, "held");
    await using watched = new Watched(libvirtd.uri("qemu"));
    const { hypervisor } = watched;
    const connected = await watched.heard("Connected");
    assert.ok(connected.type === "Connected" && connected.domains === undefined, "libvirt does not list");
    assert.equal((await watched.present("healthy")).state, "Running");
    assert.deepEqual(await hypervisor.glance(named("nobody")), { kind: "Missing" });
    const before = watched.unanswered;
    const looks = Array.from({ length: 20 }, () => hypervisor.glance(named("held")));
    for (const look of await Promise.all(looks))
      assert.match(whyUnreachable(look), /has not answered DOMAIN_LOOKUP_BY_NAME about this domain since /);
    assert.match(whyUnreachable(await hypervisor.look(named("held"), {})), /has not answered/);
    assert.equal(watched.unanswered - before, 1);
    const told = watched.changes.length;
    await letGo();
    await watched.changed("held", told);
    await watched.heard("Listed");
    assert.equal((await watched.present("held")).state, "Shutoff");
    assert.equal((await watched.present("healthy")).state, "Running");
    for (const name of ["healthy", "held"]) await remove(libvirtd, name);
  });

  test("a domain that libvirt holds is not asked again with each connection", async () => {
    const letGo = await startHanging(libvirtd, "lost");
    await using proxy = await startLibvirtProxy(libvirtd.socket);
    await using watched = new Watched(`qemu+unix:///system?socket=${proxy.socket}`);
    await watched.heard("Connected");
    await watched.hypervisor.glance(named("lost"));
    for (const count of [2, 3]) {
      proxy.cut();
      await watched.heard("Connected", count);
      assert.match(whyUnreachable(await watched.hypervisor.glance(named("lost"))), /it is asked again at 2/);
    }
    assert.equal(watched.sent.filter((procedure) => procedure === "DOMAIN_LOOKUP_BY_NAME").length, 1);
    await letGo();
    await watched.heard("Listed");
    assert.equal((await watched.present("lost")).state, "Shutoff");
    await remove(libvirtd, "lost");
  });

  test("seven that hang hold up no other, eight all, and the others go on when one of them answers", async () => {
    const hung = Array.from({ length: 9 }, (_, index) => `hung-${index + 1}`);
    for (const name of [...hung, "tenth"]) await startMachine(libvirtd, name);
    await haveFewWorkers(libvirtd);
    await using watched = new Watched(libvirtd.uri("qemu"));
    await watched.heard("Connected");
    // One after the other, as that takes no further worker.
    const domains: Domain[] = [];
    for (const name of hung) domains.push(await watched.present(name));
    const pids = await Promise.all(hung.map((name) => libvirtd.qemuPid(name)));
    for (const pid of pids) process.kill(pid, "SIGSTOP");
    const shutDown = (domain: Domain) =>
      watched.hypervisor.perform(domain, { kind: "Shutdown", signal: "ACPI" });
    const outcomes = domains.slice(0, 7).map(shutDown);
    assert.equal((await watched.present("tenth")).state, "Running");
    assert.equal((await watched.present("hung-1")).state, "Running", "what hangs can be looked at");
    assert.equal(watched.unanswered, 7);
    await libvirtd.virsh("dumpxml", "tenth");
    outcomes.push(...domains.slice(7, 8).map(shutDown));
    await watched.heard("Held");
    assert.match(whyUnreachable(await watched.hypervisor.glance(named("tenth"))), /has not answered 8 calls/);
    const [ninth] = domains.slice(8);
    assert.ok(ninth);
    assert.equal((await shutDown(ninth)).kind, "NotSent");
    assert.equal(watched.unanswered, 8);
    const [first, ...others] = pids;
    assert.ok(first !== undefined);
    const told = watched.changes.length;
    process.kill(first, "SIGCONT");
    await watched.heard("Released");
    await watched.changed("All", told);
    assert.equal((await watched.present("tenth")).state, "Running");
    for (const pid of others) process.kill(pid, "SIGCONT");
    assert.deepEqual(new Set((await Promise.all(outcomes)).map(({ kind }) => kind)), new Set(["Done"]));
    for (const name of [...hung, "tenth"]) await remove(libvirtd, name);
  });
});

describe("the machines of a controller", () => {
  let installation: Installation;
  before(async () => {
    installation = await startInstallation();
  });
  after(() => installation.close());

  const restartPolicy = { mode: "Hard" };

  /** Has a resource whose restart is requested, and resolves to its last restart when it has a result. */
  async function restart(name: string) {
    const { api } = installation;
    await api.apply(virtualMachine(name, { restartPolicy, restartGeneration: 1 }));
    await waitForStatus(api, name, "observedRestartGeneration", 1);
    return (await readVirtualMachine(api, name)).status.lastRestart;
  }

  test("one that libvirt holds says so, the others are restarted meanwhile, and it goes on by itself", async () => {
    const { api, libvirtd } = installation;
    await startMachine(libvirtd, "well");
    const letGo = await startHanging(libvirtd, "held");
    await using controller = await installation.controller("qemu");
    for (const name of ["held", "well"]) await api.apply(virtualMachine(name, { restartPolicy }));
    await waitForCondition(api, "well", "Ready");
    assert.equal((await restart("well"))?.result, "Succeeded");
    const why = "conditions[?(@.type=='Ready')].reason";
    await waitForStatus(api, "held", why, "DomainUnresponsive");
    const { conditions } = (await readVirtualMachine(api, "held")).status;
    const message = conditions?.find(({ type }) => type === "Ready")?.message ?? "";
    assert.match(message, /libvirt has not answered DOMAIN_LOOKUP_BY_NAME about this domain since/);
    await letGo();
    await waitForCondition(api, "held", "Bound=True");
    await controller.stop();
    const reasons = ["get", "events", "-o", "jsonpath={.items[*].reason}", "--field-selector"];
    const told = await api.kubectl(...reasons, "involvedObject.name=held");
    assert.deepEqual(told.split(" ").toSorted(), ["DomainResponsive", "DomainUnresponsive"]);
    for (const name of ["held", "well"]) await api.kubectl("delete", "wvm", name);
    for (const name of ["held", "well"]) await remove(libvirtd, name);
  });

  test("one whose process hangs is restarted by force, and another one beside it as ever", async () => {
    const { api, libvirtd, kubeconfig } = installation;
    for (const name of ["hung", "healthy"]) await startMachine(libvirtd, name);
    await using controller = startHastyController(4, kubeconfig, "--connect", libvirtd.uri("qemu"));
    await controller.logged(({ msg }) => msg === "ready");
    for (const name of ["hung", "healthy"]) {
      await api.apply(virtualMachine(name, { restartPolicy }));
      await waitForCondition(api, name, "Ready");
    }
    process.kill(await libvirtd.qemuPid("hung"), "SIGSTOP");
    const hung = restart("hung");
    await controller.logged(({ name, outcome }) => name === "hung" && outcome === "Unanswered");
    for (const last of [await restart("healthy"), await hung]) {
      assert.equal(last?.result, "Succeeded", JSON.stringify(last));
      assert.equal(last.method, "Hard");
    }
  });
});
