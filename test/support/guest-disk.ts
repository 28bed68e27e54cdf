import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Disk } from "./guest.ts";
import type { Libvirtd } from "./libvirtd.ts";
import { run } from "./run.ts";

/** What the guest writes is more than fits on the full disk, and less than fits on it once there is space. */
const FULL = "64k";
const SPACIOUS = "4m";

/** A disk on a file system that is full as soon as the guest writes to it: libvirt pauses the guest then. */
export interface FullDisk extends AsyncDisposable {
  readonly disk: Disk;
  /** Makes space, so that a guest that is resumed goes on as if nothing had been. */
  makeSpace(): Promise<void>;
}

/** Makes such a disk, in the mount namespace of a daemon that runs; guests of its must not outlive the disk. */
export async function fullDisk(libvirtd: Libvirtd, name: string): Promise<FullDisk> {
  const directory = join(libvirtd.directory, name);
  const path = join(directory, "disk");
  const inNamespace = (...command: string[]) =>
    run("nsenter", ["--target", String(libvirtd.pid), "--mount", ...command]);
  await mkdir(directory);
  await inNamespace("mount", "-t", "tmpfs", "-o", `size=${FULL}`, "tmpfs", directory);
  await inNamespace("truncate", "--size=1M", path);
  return {
    disk: { path, format: "raw" },
    makeSpace: async () => {
      await inNamespace("mount", "-o", `remount,size=${SPACIOUS}`, directory);
    },
    [Symbol.asyncDispose]: async () => {
      await inNamespace("umount", "--lazy", directory);
    },
  };
}
