import assert from "node:assert/strict";
import { once, EventEmitter } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { Session } from "libvirt";
import type { Domain, DomainEffect, Look, NextStart, RequestMark } from "../../controller/ports.ts";
import { LibvirtHypervisor } from "../../src/hypervisor/hypervisor.ts";
import { at, textOf } from "../../src/hypervisor/xml/element.ts";
import { parseXml } from "../../src/hypervisor/xml/parse.ts";
import { domainXml } from "../support/guest.ts";
import { defineGuest, startGuest } from "../support/start-guest.ts";
import { startLibvirtd, type Libvirtd } from "../support/libvirtd.ts";
import { run } from "../support/run.ts";

let libvirtd: Libvirtd;
let controller: Controller;
before(async () => {
  libvirtd = await startLibvirtd();
  controller = await Controller.connect();
});
after(async () => {
  await controller[Symbol.asyncDispose]();
  await libvirtd.close();
});

/** What a controller does with a hypervisor, without its decisions. */
class Controller implements AsyncDisposable {
  readonly hypervisor: LibvirtHypervisor;
  readonly #changes = new EventEmitter();

  static async connect(): Promise<Controller> {
    const controller = new Controller();
    const connected = once(controller.#changes, "All");
    controller.hypervisor.start();
    await connected;
    return controller;
  }

  private constructor() {
    this.hypervisor = new LibvirtHypervisor(
      (listener) => new Session(libvirtd.uri("qemu"), { listener }),
      (changed) => this.#changes.emit(typeof changed === "string" ? changed : changed.name),
    );
  }

  async look(name: string, definition?: string): Promise<Look & { kind: "Present" }> {
    const blueprint = { definition, volumes: [] };
    // The event of a domain that virsh has defined may come after virsh has ended.
    while (this.hypervisor.find({ kind: "Name", name }) === undefined) await once(this.#changes, name);
    const look = await this.hypervisor.look(
      { kind: "Name", name },
      { comparison: { blueprint, preflight: false } },
    );
    assert.ok(look.kind === "Present", JSON.stringify(look));
    return look;
  }

  async next(name: string, definition?: string): Promise<NextStart> {
    const { next } = await this.look(name, definition);
    assert.ok(next);
    return next;
  }

  async domain(name: string): Promise<Domain> {
    return (await this.look(name)).domain;
  }

  /** Performs an effect that must succeed. */
  async perform(name: string, effect: DomainEffect): Promise<void> {
    const outcome = await this.hypervisor.perform(await this.domain(name), effect);
    assert.deepEqual(outcome, { kind: "Done" });
  }

  async refusal(name: string, effect: DomainEffect): Promise<string> {
    const outcome = await this.hypervisor.perform(await this.domain(name), effect);
    assert.ok(outcome.kind === "Refused", JSON.stringify(outcome));
    return outcome.message;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hypervisor.close();
  }
}

const mark = (attempt: string): RequestMark => ({
  attempt: attempt.repeat(32),
  cluster: "cluster",
  resource: "uid",
  owner: "default/vm",
  request: { requestedAt: "2026-01-01T00:00:00.000Z" },
  servedBefore: {},
  startedAtMs: 0,
});

const dumpxml = (name: string, ...options: string[]) => libvirtd.virsh("dumpxml", name, ...options);
const configured = (name: string) => dumpxml(name, "--inactive", "--security-info");

async function define(xml: string): Promise<void> {
  const file = join(libvirtd.directory, "definition.xml");
  await writeFile(file, xml);
  await libvirtd.virsh("define", file);
}

async function momentaryDomains(): Promise<string[]> {
  const names = (await libvirtd.virsh("list", "--all", "--name")).split("\n");
  return names.filter((name) => name.startsWith("warmboot-check-"));
}

let named = 0;
/** A domain's XML for a new name; without devices it has what libvirt gives every domain. */
function machine(
  os: { machine?: string; attributes?: string; rest?: string },
  devices = "",
  rest = "",
): { name: string; xml: string } {
  named += 1;
  const name = `machine-${named}`;
  return { name, xml: domainOf(name, os, devices, rest) };
}

function domainOf(
  name: string,
  {
    machine = "q35",
    attributes = "",
    rest: firmware = "",
  }: { machine?: string; attributes?: string; rest?: string },
  devices: string,
  rest = "",
): string {
  return `<domain type='qemu'><name>${name}</name><memory>65536</memory>
    <os${attributes}><type arch='x86_64' machine='${machine}'>hvm</type>${firmware}</os><features><acpi/></features>
    ${rest}<devices>${devices}</devices></domain>`;
}

const disk = (target: string, bus = "virtio") =>
  `<disk type='file'><source file='/nowhere/${target}'/><target dev='${target}' bus='${bus}'/></disk>`;
const nic = (model = "virtio") => `<interface type='user'><model type='${model}'/></interface>`;
const channel = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>";
const vnc = (password = "secret") => `<graphics type='vnc' passwd='${password}'/>`;
const drive = "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>";
const rng = "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>";
const scsi = "<controller type='scsi' model='virtio-scsi'/>";
const many =
  nic() +
  nic("e1000") +
  disk("vda") +
  disk("vdb") +
  channel +
  vnc() +
  drive +
  scsi +
  disk("sdb", "scsi") +
  rng;
const loader = "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>";
const tpm = "<tpm model='tpm-crb'><backend type='emulator'/></tpm>";
const hostDevice =
  "<hostdev mode='subsystem' type='pci' managed='yes'><source><address domain='0' bus='0x65' slot='0'/></source></hostdev>";

suite("a definition", () => {
  for (const type of ["pc", "q35"]) {
    for (const [sentence, devices] of [
      ["little", ""],
      ["much", many],
      ["a generation ID", disk("vda")],
    ] as const) {
      test(`of a ${type} with ${sentence} is what a domain that was defined from it has`, async () => {
        const rest = sentence === "a generation ID" ? "<genid/>" : "";
        const { name, xml } = machine({ machine: type }, devices, rest);
        await define(xml);
        assert.equal((await controller.next(name, xml)).isToBeDefined, false);
      });
    }

    for (const [sentence, from, to] of [
      ["devices come", disk("vda"), many],
      ["devices go", many, disk("vdb") + nic()],
      ["one of two interfaces goes", nic() + nic("e1000"), nic("e1000") + disk("vdc")],
      ["a host device replaces an interface", disk("vda") + nic(), disk("vda") + hostDevice],
    ] as const) {
      test(`by which, on a ${type}, ${sentence} is defined once`, async () => {
        const { name, xml } = machine({ machine: type }, from);
        await define(xml);
        await isDefinedOnce(name, domainOf(name, { machine: type }, to));
      });
    }
  }

  for (const [sentence, from, to, devices] of [
    ["becomes a q35", { machine: "pc" }, { machine: "q35" }, many],
    ["becomes a pc", { machine: "q35" }, { machine: "pc" }, many],
    ["gets firmware", {}, { rest: loader }, disk("vda") + tpm],
    ["lets libvirt choose the firmware", { rest: loader }, { attributes: " firmware='efi'" }, disk("vda")],
  ] as const) {
    test(`by which a machine ${sentence} is defined once`, async () => {
      const { name, xml } = machine(from, devices);
      await define(xml);
      await isDefinedOnce(name, domainOf(name, to, devices));
    });
  }

  test("keeps what the guest depends on, and what other programs have written", async () => {
    const foreign = "<metadata><o:own xmlns:o='urn:own'>1</o:own><k:kept xmlns:k='urn:kept'/></metadata>";
    const { name, xml } = machine({ rest: loader }, nic() + disk("vda"), `${foreign}<genid/>`);
    await define(xml);
    const before = await configured(name);
    const own = "<metadata xmlns:o='urn:own'><o:own>2</o:own></metadata>";
    const wanted = domainOf(name, { rest: loader }, disk("vdb") + nic() + disk("vda"), `${own}<genid/>`);
    await isDefinedOnce(name, wanted);
    const now = await configured(name);
    for (const pattern of [
      /<uuid>.*<\/uuid>/,
      /<genid>.*<\/genid>/,
      /<nvram>.*<\/nvram>/,
      /<mac address='[^']*'\/>/,
      /machine='pc-q35-[^']*'/,
      /<target dev='vda'[^/]*\/>\s*<address [^/]*\/>/,
      /<memballoon model='virtio'>\s*<address [^/]*\/>/,
      /<k:kept[^/]*\/>/,
    ])
      assert.equal(pattern.exec(now)?.[0], pattern.exec(before)?.[0] ?? "nothing", String(pattern));
    assert.match(now, /<o:own[^>]*>2<\/o:own>/);
  });

  test("that says no more than a password differently is to be defined", async () => {
    const { name, xml } = machine({}, vnc("old"));
    await define(xml);
    assert.equal((await controller.next(name, xml)).isToBeDefined, false);
    await isDefinedOnce(name, xml.replace("old", "new"));
    assert.match(await configured(name), /passwd='new'/);
  });

  for (const [sentence, spoil, message] of [
    [
      "what libvirt does not know",
      (xml: string) => xml.replace("<acpi/>", "<warp/>"),
      /libvirt refuses .*features/,
    ],
    ["another name", (xml: string) => xml.replace(/<name>.*?</, "<name>other<"), /domain other, and this is/],
    ["no end", (xml: string) => xml.slice(0, -1), /not well-formed/],
  ] as const) {
    test(`with ${sentence} is a finding, and refused`, async () => {
      const { name, xml } = machine({}, disk("vda"));
      await define(xml);
      const before = await configured(name);
      const { findings } = await controller.next(name, spoil(xml));
      assert.deepEqual(
        findings?.map(({ reason, path }) => [reason, path]),
        [["DefinitionInvalid", "spec.definition"]],
      );
      assert.match(findings?.[0]?.message ?? "", message);
      assert.match(
        await controller.refusal(name, { kind: "Define", definition: spoil(xml), replaces: true }),
        message,
      );
      assert.equal(await configured(name), before);
    });
  }

  test("leaves no other domain behind", async () => {
    assert.deepEqual(await momentaryDomains(), []);
  });
});

/** Defines it by the controller, after which it is what the domain has. */
async function isDefinedOnce(name: string, xml: string): Promise<void> {
  assert.equal((await controller.next(name, xml)).isToBeDefined, true);
  await controller.perform(name, { kind: "Define", definition: xml, replaces: true });
  assert.equal((await controller.next(name, xml)).isToBeDefined, false);
  const before = await configured(name);
  await controller.perform(name, { kind: "Define", definition: xml, replaces: true });
  assert.equal(await configured(name), before);
}

suite("the configuration that a definition replaces", () => {
  const previous = /warmboot\.dev\/previous/;
  test("is put back with the request mark, and nothing else of ours", async () => {
    const { name, xml } = machine({}, disk("vda") + nic());
    await define(xml);
    const before = await configured(name);
    await controller.perform(name, { kind: "Mark", mark: mark("a"), running: false });
    await controller.perform(name, {
      kind: "Define",
      definition: domainOf(name, {}, disk("vdb")),
      replaces: true,
    });
    assert.match(await configured(name), previous);
    assert.equal((await controller.look(name)).marks.next?.attempt, "a".repeat(32));
    const rolledBack: RequestMark = { ...mark("a"), definition: "RolledBack" };
    await controller.perform(name, { kind: "RollBack", mark: rolledBack });
    const now = await configured(name);
    assert.deepEqual((await controller.look(name)).marks.next?.definition, "RolledBack");
    assert.equal(now.replace(/ *<metadata>.*<\/metadata>\n/s, ""), before);
    assert.doesNotMatch(now, previous);
    assert.match(
      await controller.refusal(name, { kind: "RollBack", mark: rolledBack }),
      /not known any more/,
    );
  });

  test("is kept until a restart has succeeded, also beyond one more definition that was never started", async () => {
    const { name, xml } = machine({}, disk("vda"));
    await define(xml);
    await controller.perform(name, {
      kind: "Define",
      definition: domainOf(name, {}, disk("vdb")),
      replaces: true,
    });
    const applied = { ...mark("b"), definition: "Applied" } as const;
    for (const ended of [mark("b"), { ...applied, result: "Failed" } as const]) {
      await controller.perform(name, { kind: "Settle", mark: ended });
      assert.match(await configured(name), previous);
    }
    const another = domainOf(name, {}, disk("vdc"));
    await controller.perform(name, { kind: "Define", definition: another, replaces: true });
    const kept = await configured(name);
    assert.match(kept, /previous.*vda/s);
    assert.doesNotMatch(kept, /previous.*vdb/s);
    await controller.perform(name, { kind: "Settle", mark: { ...applied, result: "Succeeded" } });
    assert.doesNotMatch(await configured(name), previous);
    assert.equal((await controller.look(name)).marks.next?.definition, "Applied");
  });

  test("is known to this process alone where it has secrets", async () => {
    const { name, xml } = machine({}, vnc("secret"));
    await define(xml);
    await controller.perform(name, {
      kind: "Define",
      definition: domainOf(name, {}, vnc("other")),
      replaces: true,
    });
    assert.doesNotMatch(await configured(name), /warmboot|secret/);
    await using another = await Controller.connect();
    const effect = { kind: "RollBack", mark: mark("c") } as const;
    assert.match(await another.refusal(name, effect), /not known any more/);
    await controller.perform(name, effect);
    assert.match(await configured(name), /passwd='secret'/);
  });
});

suite("a running guest", () => {
  test("goes on with what it was started with, and lacks the disks that its next start has", async () => {
    const options = {
      name: "running",
      behaviour: "obey",
      serialLog: join(libvirtd.directory, "running.log"),
    } as const;
    await startGuest(libvirtd, options);
    const { domain } = await controller.look("running");
    const live = await dumpxml("running");
    const wanted = (await domainXml(options))
      .replace(/<uuid>.*?<\/uuid>/, "")
      .replace("</devices>", `${disk("vdb")}</devices>`);
    assert.deepEqual((await controller.next("running", wanted)).absentDisks, ["vdb"]);
    await controller.perform("running", { kind: "Define", definition: wanted, replaces: true });
    const { next, domain: now } = await controller.look("running", wanted);
    assert.deepEqual([next?.isToBeDefined, next?.absentDisks, now.id], [false, ["vdb"], domain.id]);
    assert.ok(now.lastDefined);
    assert.equal(await dumpxml("running"), live);
    assert.match(await configured("running"), /vdb/);
    // Without a definition, it is the configuration that the next start is made from.
    const own = await controller.next("running");
    assert.deepEqual([own.isToBeDefined, own.absentDisks], [false, ["vdb"]]);
    await libvirtd.virsh("destroy", "running");
    assert.deepEqual((await controller.next("running")).absentDisks, []);
  });

  test("that is transient becomes persistent as it is, without the marks of its boot", async () => {
    const file = join(libvirtd.directory, "transient.xml");
    const serialLog = join(libvirtd.directory, "transient.log");
    await writeFile(file, await domainXml({ name: "transient", behaviour: "obey", serialLog }));
    await libvirtd.virsh("create", file, "--paused");
    for (const path of ["boot/1", "request"])
      await libvirtd.virsh(
        "metadata",
        "transient",
        `https://warmboot.dev/${path}`,
        "--key",
        "w",
        "--set",
        "<leaked/>",
        "--live",
      );
    await controller.perform("transient", { kind: "Define", replaces: false });
    assert.equal((await controller.look("transient")).persistent, true);
    assert.doesNotMatch(await configured("transient"), /leaked/);
    await libvirtd.virsh("destroy", "transient");
    assert.equal((await controller.look("transient")).domain.state, "Shutoff");
  });
});

suite("a disk that cannot be had", () => {
  const broken = (path: string) =>
    `<disk type='file'><driver name='qemu' type='raw'/><source file='${path}'/><target dev='vdb' bus='virtio'/>BOOT</disk>`;
  for (const [sentence, boot] of [
    ["", ""],
    [" and has its turn at booting", "<boot order='2'/>"],
  ] as const) {
    test(`${sentence} is left out of one boot, stays in the configuration, and is given to that boot later`, async () => {
      const name = `degraded${boot === "" ? "" : "-in-order"}`;
      const path = join(libvirtd.directory, `${name}.raw`);
      const devices = broken(path).replace("BOOT", boot);
      const guest = await defineGuest(libvirtd, { name, behaviour: "obey", devices });
      assert.match(await controller.refusal(name, { kind: "Start" }), /No such file/);
      await controller.perform(name, { kind: "Mark", mark: mark("d"), running: false });
      const before = await configured(name);
      await controller.perform(name, { kind: "Start", without: ["vdb"] });
      await guest.ready();
      const look = await controller.look(name);
      assert.deepEqual(look.next?.absentDisks, ["vdb"]);
      assert.equal(look.persistent, true);
      assert.equal(look.marks.live?.attempt, "d".repeat(32));
      assert.equal(await configured(name), before);

      await run("truncate", ["--size=1M", path]);
      await controller.perform(name, { kind: "AttachDisk", disk: "vdb" });
      assert.deepEqual((await controller.next(name)).absentDisks, []);
      assert.match(await controller.refusal(name, { kind: "AttachDisk", disk: "vdb" }), /vdb/);
      assert.match(await controller.refusal(name, { kind: "AttachDisk", disk: "vdz" }), /no disk vdz/);
      await libvirtd.virsh("destroy", name);
      assert.equal(await configured(name), before);
      await controller.perform(name, { kind: "Start" });
      await guest.ready(2);
    });
  }

  test("discards the memory that was saved with it", async () => {
    const path = join(libvirtd.directory, "saved.raw");
    await run("truncate", ["--size=1M", path]);
    const guest = await startGuest(libvirtd, {
      name: "saved",
      behaviour: "deaf",
      devices: broken(path).replace("BOOT", ""),
    });
    await libvirtd.virsh("managedsave", "saved");
    await controller.perform("saved", { kind: "Start", without: ["vdb"] });
    await guest.ready(2);
    assert.doesNotMatch(await libvirtd.virsh("dominfo", "saved"), /Managed save:\s*yes/);
  });

  test("can be given to a boot where its place takes none while it runs", async () => {
    const path = join(libvirtd.directory, "q35.raw");
    const place = "<address type='pci' domain='0' bus='0' slot='9' function='0'/>";
    const xml = domainOf("q35", {}, broken(path).replace("BOOT", place));
    await define(xml);
    await controller.perform("q35", { kind: "Start", without: ["vdb"] });
    await libvirtd.virsh("suspend", "q35");
    await run("truncate", ["--size=1M", path]);
    await controller.perform("q35", { kind: "AttachDisk", disk: "vdb" });
    assert.deepEqual((await controller.next("q35")).absentDisks, []);
    await libvirtd.virsh("destroy", "q35");
  });
});

suite("a domain that is not there", () => {
  const reference = { kind: "Name", name: "new" } as const;
  const look = (definition?: string) =>
    controller.hypervisor.look(reference, {
      comparison: { blueprint: { definition, volumes: [] }, preflight: false },
    });

  test("would be defined from its definition, and is", async () => {
    const wanted = domainOf("new", {}, disk("vda")).replace("<name>new</name>", "");
    assert.deepEqual(await look(), { kind: "Missing" });
    const missing = await look(wanted);
    assert.ok(missing.kind === "Missing");
    assert.equal(missing.next?.isToBeDefined, true);
    assert.deepEqual(missing.next?.absentDisks, []);
    assert.equal(missing.next?.findings, undefined);
    assert.deepEqual(await controller.hypervisor.defineNew(reference, wanted), { kind: "Done" });
    assert.equal((await controller.next("new", wanted)).isToBeDefined, false);
    const again = await controller.hypervisor.defineNew(reference, wanted);
    assert.ok(again.kind === "Refused");
    assert.match(again.message, /there is a domain new already/);
  });

  test("gets the UUID by which it is named", async () => {
    const uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f";
    const numbered = { kind: "UUID", uuid } as const;
    const outcome = await controller.hypervisor.defineNew(numbered, domainOf("numbered", {}, ""));
    assert.deepEqual(outcome, { kind: "Done" });
    assert.equal(textOf(at(parseXml(await configured("numbered")), "uuid")), uuid);
  });

  test("is not defined from a definition that cannot be used, and that is a finding", async () => {
    const missing = await controller.hypervisor.look(
      { kind: "Name", name: "never" },
      {
        comparison: {
          blueprint: { definition: domainOf("never", { machine: "warp" }, ""), volumes: [] },
          preflight: false,
        },
      },
    );
    assert.ok(missing.kind === "Missing");
    assert.deepEqual(
      missing.next?.findings?.map(({ reason }) => reason),
      ["DefinitionInvalid"],
    );
    const outcome = await controller.hypervisor.defineNew(
      { kind: "Name", name: "never" },
      domainOf("never", { machine: "warp" }, ""),
    );
    assert.equal(outcome.kind, "Refused");
  });
});
