import { access, constants, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cacheDirectory } from "./cache.ts";
import { guestImage } from "./guest-image.ts";
import { toStderr } from "./report.ts";
import { guestReady } from "./serial-log.ts";
import { supervise } from "./supervised.ts";
import { removeDirectory, temporaryDirectory } from "./temp-directory.ts";

/** A guest on KVM is ready in well below a second; a hung one never. */
const BOOTS_WITHIN_MS = 5_000;

/**
 * Whether a guest really boots on KVM here. /dev/kvm proves nothing: where
 * virtualisation is nested it may open, and run firmware, and hang every kernel.
 * So one is booted, once for each boot of this machine.
 */
export async function kvmBoots(): Promise<boolean> {
  const usable = await access("/dev/kvm", constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
  if (!usable) return false;
  const boot = (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim();
  const memo = join(cacheDirectory(), `kvm-boots-${boot}`);
  const known = await readFile(memo, "utf8").catch(() => "");
  if (known !== "") return known === "yes";
  const result = await probe();
  await mkdir(cacheDirectory(), { recursive: true });
  await writeFile(memo, result ? "yes" : "no");
  return result;
}

async function probe(): Promise<boolean> {
  const image = await guestImage(toStderr);
  const directory = temporaryDirectory();
  await using undo = new AsyncDisposableStack();
  undo.defer(() => removeDirectory(directory));
  const serialLog = join(directory, "serial.log");
  const qemu = undo.use(
    await supervise({
      command: [
        "qemu-system-x86_64",
        ..."-machine pc -accel kvm -m 96 -nodefaults -display none".split(" "),
        "-kernel",
        image.kernel,
        "-initrd",
        image.initramfs,
        "-append",
        "console=ttyS0 quiet behaviour=deaf",
        "-serial",
        `file:${serialLog}`,
      ],
      logFile: join(directory, "qemu.log"),
      removes: directory,
    }),
  );
  await qemu.start();
  const ready = guestReady(serialLog, 1, BOOTS_WITHIN_MS).then(
    () => true,
    () => false,
  );
  // Awaited here: returning ends QEMU.
  return await Promise.race([ready, qemu.exited().then(() => false)]);
}
