import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { cachePath, obtain, type Recipe } from "./cache.ts";
import { cpioArchive, type ArchiveFile } from "./cpio.ts";
import { downloadPackages } from "./debian.ts";
import { timed, type Report } from "./report.ts";
import { run } from "./run.ts";
import { vmlinuxOf } from "./vmlinux.ts";

const scripts = join(import.meta.dirname, "..", "parts", "guest");
const initScript = join(scripts, "init");
const shutdownScript = join(scripts, "shutdown");

/** What Debian's kernel for clouds leaves to modules: the power button, the panic device, virtio. */
const MODULES = [
  "input/evdev.ko",
  "acpi/button.ko",
  "misc/pvpanic/pvpanic.ko",
  "misc/pvpanic/pvpanic-mmio.ko",
  "virtio/virtio.ko",
  "virtio/virtio_ring.ko",
  "virtio/virtio_pci_legacy_dev.ko",
  "virtio/virtio_pci_modern_dev.ko",
  "virtio/virtio_pci.ko",
  "char/virtio_console.ko",
  "block/virtio_blk.ko",
];

/** What a test guest boots from. */
export interface GuestImage {
  readonly kernel: string;
  /** The kernel as Debian packs it: slower to start, and it wakes up from a suspension to RAM, which the other does not. */
  readonly packedKernel: string;
  /** All that a guest needs but for an agent. */
  readonly initramfs: string;
  /** The same with the guest agent, which is five times as much to unpack. */
  readonly initramfsWithAgent: string;
}

/** The kernel and the initramfs of the test guests, made unless they are cached. */
export async function guestImage(report: Report): Promise<GuestImage> {
  const software = await obtain(SOFTWARE, report);
  const initramfs = await obtain(await initramfsOf(SOFTWARE, software), report);
  return {
    kernel: join(software, "kernel"),
    packedKernel: join(software, "vmlinuz"),
    initramfs: join(initramfs, "initramfs.cpio"),
    initramfsWithAgent: join(initramfs, "initramfs-with-agent.cpio"),
  };
}

const PACKAGES = ["linux-image-cloud-amd64", "busybox-static", "qemu-guest-agent"];

/** Debian's kernel, busybox and guest agent, fetched once; none of them is installed on this machine. */
const SOFTWARE: Recipe = {
  name: "guest-software",
  title: "guest kernel, busybox and guest agent",
  files: [],
  words: ["vmlinux", "vmlinuz", ...PACKAGES, ...MODULES],
  async build(directory, report) {
    const work = join(directory, "work");
    await mkdir(work);
    await timed(report, `Debian packages ${PACKAGES.join(", ")}`, async () => {
      for (const file of await downloadPackages(PACKAGES, work)) {
        await run("dpkg-deb", ["--extract", file, work]);
      }
    });
    const version = (await readdir(join(work, "lib", "modules")))[0];
    if (version === undefined) throw new Error("the kernel package has no modules");
    const bzImage = await readFile(join(work, "boot", `vmlinuz-${version}`));
    await writeFile(join(directory, "kernel"), vmlinuxOf(bzImage) ?? bzImage);
    await writeFile(join(directory, "vmlinuz"), bzImage);
    await cp(join(work, "bin", "busybox"), join(directory, "busybox"));
    for (const module of MODULES) {
      const name = join(work, "lib", "modules", version, "kernel", "drivers", module);
      await cp(name, join(directory, fileName(module)));
    }
    await copyAgent(join(work, "usr", "sbin", "qemu-ga"), join(directory, "agent"));
    await rm(work, { recursive: true });
  },
};

/**
 * Lays the guest agent out as in the guest's file system. Its libraries are those of this machine, which
 * come from the same release and are here because QEMU needs them, too.
 */
async function copyAgent(agent: string, root: string): Promise<void> {
  const needed = await run("ldd", [agent]);
  const missing = /^\s*(\S+) => not found$/m.exec(needed)?.[1];
  if (missing !== undefined) {
    throw new Error(`the guest agent needs ${missing}: install it, it comes with Debian's qemu-system-x86`);
  }
  await mkdir(join(root, "usr", "sbin"), { recursive: true });
  await cp(agent, join(root, "usr", "sbin", "qemu-ga"));
  // "name => path (address)", and for the loader "path (address)"; the kernel's own page has no path.
  for (const [, path = ""] of needed.matchAll(/(\/\S+) \(0x[0-9a-f]+\)$/gm)) {
    await mkdir(join(root, dirname(path)), { recursive: true });
    await cp(path, join(root, path), { dereference: true });
  }
}

async function initramfsOf(base: Recipe, software: string): Promise<Recipe> {
  return {
    name: "guest-initramfs",
    title: "guest initramfs",
    files: [initScript, shutdownScript],
    words: [basename(await cachePath(base))],
    async build(directory) {
      const files = [await executable("init", initScript)];
      files.push(await executable("bin/busybox", join(software, "busybox")));
      for (const name of MODULES.map(fileName)) {
        files.push(await executable(join("modules", name), join(software, name)));
      }
      const archive = cpioArchive(["bin", "dev", "modules", "proc", "sys"], files);
      await writeFile(join(directory, "initramfs.cpio"), archive);
      const agent = await agentArchive(join(software, "agent"));
      // The kernel unpacks one archive after the other.
      await writeFile(join(directory, "initramfs-with-agent.cpio"), Buffer.concat([archive, agent]));
    },
  };
}

async function agentArchive(root: string): Promise<Buffer> {
  const directories = ["run", "sbin"];
  const files = [await executable("sbin/shutdown", shutdownScript)];
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const source = join(entry.parentPath, entry.name);
    const path = relative(root, source);
    if (entry.isDirectory()) directories.push(path);
    else files.push(await executable(path, source));
  }
  return cpioArchive(directories.toSorted(), files);
}

async function executable(path: string, source: string): Promise<ArchiveFile> {
  return { path, mode: 0o755, content: await readFile(source) };
}

function fileName(module: string): string {
  return module.slice(module.lastIndexOf("/") + 1);
}
