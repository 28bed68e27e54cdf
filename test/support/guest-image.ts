import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { cachePath, obtain, type Recipe } from "./cache.ts";
import { cpioArchive, type ArchiveFile } from "./cpio.ts";
import { downloadPackages } from "./debian.ts";
import type { Report } from "./report.ts";
import { run } from "./run.ts";
import { vmlinuxOf } from "./vmlinux.ts";

const initScript = join(import.meta.dirname, "..", "parts", "guest", "init");

/** What Debian's kernel for clouds leaves to modules: the power button, and the panic device. */
const MODULES = [
  "input/evdev.ko",
  "acpi/button.ko",
  "misc/pvpanic/pvpanic.ko",
  "misc/pvpanic/pvpanic-mmio.ko",
];

/** What a test guest boots from. */
export interface GuestImage {
  readonly kernel: string;
  readonly initramfs: string;
}

/** The kernel and the initramfs of the test guests, made unless they are cached. */
export async function guestImage(report: Report): Promise<GuestImage> {
  const software = await obtain(SOFTWARE, report);
  const initramfs = await obtain(await initramfsOf(SOFTWARE, software), report);
  return { kernel: join(software, "kernel"), initramfs: join(initramfs, "initramfs.cpio") };
}

/** Debian's kernel and busybox, fetched once; neither is installed on this machine. */
const SOFTWARE: Recipe = {
  name: "guest-software",
  title: "guest kernel and busybox",
  files: [],
  words: ["vmlinux", ...MODULES],
  async build(directory) {
    const work = join(directory, "work");
    await mkdir(work);
    for (const file of await downloadPackages(["linux-image-cloud-amd64", "busybox-static"], work)) {
      await run("dpkg-deb", ["--extract", file, work]);
    }
    const version = (await readdir(join(work, "lib", "modules")))[0];
    if (version === undefined) throw new Error("the kernel package has no modules");
    const bzImage = await readFile(join(work, "boot", `vmlinuz-${version}`));
    await writeFile(join(directory, "kernel"), vmlinuxOf(bzImage) ?? bzImage);
    await cp(join(work, "bin", "busybox"), join(directory, "busybox"));
    for (const module of MODULES) {
      const name = join(work, "lib", "modules", version, "kernel", "drivers", module);
      await cp(name, join(directory, fileName(module)));
    }
    await rm(work, { recursive: true });
  },
};

async function initramfsOf(base: Recipe, software: string): Promise<Recipe> {
  return {
    name: "guest-initramfs",
    title: "guest initramfs",
    files: [initScript],
    words: [basename(await cachePath(base))],
    async build(directory) {
      const add = async (path: string, source: string): Promise<ArchiveFile> => ({
        path,
        mode: 0o755,
        content: await readFile(source),
      });
      const files = [await add("init", initScript), await add("bin/busybox", join(software, "busybox"))];
      for (const name of MODULES.map(fileName)) files.push(await add(name, join(software, name)));
      const archive = cpioArchive(["bin", "dev", "proc", "sys"], files);
      await writeFile(join(directory, "initramfs.cpio"), archive);
    },
  };
}

function fileName(module: string): string {
  return module.slice(module.lastIndexOf("/") + 1);
}
