import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import type { Session } from "libvirt";
import type { Finding, FindingReason, Repair } from "../../../controller/finding.ts";
import type { DeclaredVolume } from "../../../crds/machine.ts";
import { preflight } from "../../../src/hypervisor/preflight/preflight.ts";
import { performRepair } from "../../../src/hypervisor/preflight/repair.ts";
import { parseXml } from "../../../src/hypervisor/xml/parse.ts";
import { Heard } from "../../src/libvirt/heard.ts";
import { startLibvirtd, type Libvirtd } from "../../support/libvirtd.ts";
import { CommandError, run } from "../../support/run.ts";

/** A finding that a broken machine must have, with what its message says. */
export interface Expected {
  reason: FindingReason;
  path: string;
  says: string;
  disk?: string;
  repair?: Repair["kind"];
}

/** A machine that lacks something, and what makes it its healthy twin. */
export interface Broken {
  xml: string;
  volumes?: readonly DeclaredVolume[];
  /** None for a machine that is healthy as it is. */
  findings: readonly Expected[];
  /** Makes it a healthy one; where every finding has a repair, those are performed instead. */
  mend?: () => Promise<unknown>;
  /** Done after the domain is defined: libvirt would not take a domain that lacks this. */
  breakDefined?: () => Promise<unknown>;
  /** The XML of the healthy twin, where libvirt takes no such domain at all, so that both are not defined but created. */
  twin?: string;
  /** Why libvirt starts it all the same, where it does. */
  startsBroken?: string;
  /** Why the healthy twin cannot be started here, where it cannot. */
  twinCannotStart?: string;
  /** Takes away what would outlive the libvirtd. */
  cleanUp?: () => Promise<unknown>;
}

/** A libvirtd with the files that a broken machine is made of, in a directory of its own. */
export class Place {
  readonly name: string;
  readonly directory: string;
  readonly libvirtd: Libvirtd;

  constructor(name: string, directory: string, libvirtd: Libvirtd) {
    this.name = name;
    this.directory = directory;
    this.libvirtd = libvirtd;
  }

  /** The path of a file here. */
  path(name: string): string {
    return join(this.directory, name);
  }

  /** Writes a file. */
  async file(name: string, content: string | Uint8Array = "x".repeat(4096)): Promise<string> {
    await writeFile(this.path(name), content);
    return this.path(name);
  }

  /** Makes an image with qemu-img, 1 MiB unless its options say otherwise. */
  async image(name: string, options: readonly string[] = []): Promise<string> {
    const size = options.includes("-b") ? [] : ["1M"];
    await run(
      "qemu-img",
      ["create", "-q", ...(options.length > 0 ? options : ["-f", "qcow2"]), this.path(name), ...size],
      {
        cwd: this.directory,
      },
    );
    return this.path(name);
  }

  /**
   * Makes an image that is encrypted with LUKS, with the passphrase "letmein". qemu-img measures first how fast this
   * processor derives a key, and gives up where the clock of its processor time did not tick meanwhile: one time in
   * five on an idle machine.
   */
  async encryptedImage(name: string, format: "qcow2" | "luks"): Promise<string> {
    const secret = ["--object", "secret,id=s,data=letmein"];
    const prefix = format === "qcow2" ? "encrypt.format=luks,encrypt." : "";
    const encryption = `${prefix}key-secret=s,${prefix}iter-time=10`;
    for (let triesLeft = 29; ; triesLeft -= 1) {
      try {
        return await this.image(name, ["-f", format, ...secret, "-o", encryption]);
      } catch (error) {
        const isUnmeasured = error instanceof CommandError && error.stderr.includes("accurate CPU usage");
        if (triesLeft === 0 || !isUnmeasured) throw error;
      }
    }
  }

  /** Makes a qcow2 overlay of a file, which need not be there. */
  async overlay(name: string, backing: string, format = "qcow2"): Promise<string> {
    const options = ["create", "-q", "-u", "-f", "qcow2", "-b", backing, "-F", format, this.path(name), "1M"];
    await run("qemu-img", options, { cwd: this.directory });
    return this.path(name);
  }

  /** Defines a pool of a directory here, and starts it. */
  async pool(name = `pool-${this.name}`): Promise<{ pool: string; directory: string }> {
    const directory = this.path(name);
    await mkdir(directory);
    await this.libvirtd.virsh("pool-define-as", name, "dir", "--target", directory);
    await this.libvirtd.virsh("pool-start", name);
    return { pool: name, directory };
  }

  /** Defines what a file of XML says, by a command of virsh. */
  async define(command: string, xml: string): Promise<void> {
    await this.libvirtd.virsh(command, await this.file(`${command}.xml`, xml));
  }
}

/** A domain's XML. */
export function machine(
  { name }: { name: string },
  devices: string,
  { os = "", attributes = "type='qemu'", machine = "pc", memory = "16", more = "" } = {},
): string {
  return `<domain ${attributes}><name>${name}</name><memory unit='MiB'>${memory}</memory>${more}
    <os><type arch='x86_64' machine='${machine}'>hvm</type>${os}</os>
    <devices>${devices.includes("<emulator>") ? "" : "<emulator>/usr/bin/qemu-system-x86_64</emulator>"}
      ${devices}<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>`;
}

/** A disk on a file; `more` goes beside its source. */
export function disk(target: string, file: string, format = "qcow2", more = ""): string {
  const bus = target.startsWith("fd") ? "fdc" : target.startsWith("hd") ? "ide" : "virtio";
  return `<disk type='file' device='disk'><driver name='qemu' type='${format}'/><source file='${file}'/>
    <target dev='${target}' bus='${bus}'/>${more}</disk>`;
}

/** A disk on a volume. */
export function volumeDisk(target: string, pool: string, volume: string, format = "qcow2"): string {
  return `<disk type='volume' device='disk'><driver name='qemu' type='${format}'/><source pool='${pool}' volume='${volume}'/>
    <target dev='${target}' bus='virtio'/></disk>`;
}

/** A libvirtd, and a session with it. */
export interface Host extends AsyncDisposable {
  readonly libvirtd: Libvirtd;
  readonly session: Session;
}

/** Starts a libvirtd, and connects to it. */
export async function startHost(): Promise<Host> {
  const libvirtd = await startLibvirtd();
  const heard = new Heard(libvirtd.uri("qemu"));
  await heard.next("Connected");
  return {
    libvirtd,
    session: heard.session,
    async [Symbol.asyncDispose]() {
      await heard[Symbol.asyncDispose]();
      await libvirtd.close();
    },
  };
}

/** Broken machines by sentences, each with how it is made. */
export type Table = Readonly<Record<string, (place: Place) => Promise<Broken>>>;

/** How often repairs are looked for: what one of them brings to light needs another. */
const mostRepairs = 6;

/** Tests on one libvirtd that a look names what is broken, that libvirt refuses it, and that the healthy twin starts. */
export function testMachines(title: string, table: Table, skip: string | false = false): void {
  suite(title, { skip }, () => {
    let host: Host;
    before(async () => {
      host = await startHost();
    });
    after(() => host[Symbol.asyncDispose]());
    let count = 0;
    for (const [sentence, make] of Object.entries(table)) {
      test(sentence, async () => {
        count += 1;
        const name = `m${count}`;
        const directory = join(host.libvirtd.directory, name);
        await mkdir(directory);
        const place = new Place(name, directory, host.libvirtd);
        await tryOut(place, host.session, await make(place));
      });
    }
  });
}

async function tryOut(place: Place, session: Session, broken: Broken): Promise<void> {
  const { libvirtd, name } = place;
  const { xml, twin, findings, volumes = [] } = broken;
  const file = (content: string) => place.file("domain.xml", content);
  if (twin === undefined) await libvirtd.virsh("define", await file(xml));
  await broken.breakDefined?.();
  const start = async (content = xml) =>
    twin === undefined
      ? libvirtd.virsh("start", "--paused", name)
      : libvirtd.virsh("create", "--paused", await file(content));
  const look = async (content = xml) => {
    const next = twin === undefined ? await libvirtd.virsh("dumpxml", "--inactive", name) : content;
    return preflight(session, parseXml(next), { driver: "qemu", domain: { name }, volumes });
  };
  const found = await look();
  assert.deepEqual(found.map(inShort), findings.map(inShort));
  for (const [index, { says }] of findings.entries())
    assert.ok(found[index]?.message.includes(says), `"${found[index]?.message}" says "${says}"`);
  if (findings.length > 0) {
    if (broken.startsBroken === undefined)
      await assert.rejects(start(), CommandError, "libvirt starts what a look calls broken");
    if (broken.mend !== undefined) await broken.mend();
    else if (twin === undefined) await repairAll(session, look);
    assert.deepEqual(await look(twin), [], "the healthy twin");
  }
  if (broken.twinCannotStart === undefined) {
    await start(twin);
    await libvirtd.virsh("destroy", name);
  }
  if (twin === undefined) await libvirtd.virsh("undefine", "--nvram", name);
  await broken.cleanUp?.();
}

/** As the controller does: one repair of each finding, then another look. */
async function repairAll(session: Session, look: () => Promise<Finding[]>): Promise<void> {
  for (let round = 0; round < mostRepairs; round += 1) {
    const repairs = (await look()).map(({ repair }) => repair);
    if (repairs.length === 0) return;
    for (const repair of repairs) {
      assert.ok(repair, "every finding has a repair");
      await performRepair(session, repair);
    }
  }
}

function inShort({ reason, path, disk, repair }: Finding | Expected) {
  return { reason, path, disk, repair: typeof repair === "object" ? repair.kind : repair };
}
