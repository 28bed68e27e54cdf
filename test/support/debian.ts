import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { timed, type Report } from "./report.ts";
import { CommandError, run } from "./run.ts";

/** Programs that come from Debian packages, each with a file that shows that it is there. */
const PACKAGES: Readonly<Record<string, string>> = {
  "libvirt-daemon-system": "/usr/sbin/libvirtd",
  "libvirt-clients": "/usr/bin/virsh",
  "qemu-system-x86": "/usr/bin/qemu-system-x86_64",
  "qemu-utils": "/usr/bin/qemu-img",
  ovmf: "/usr/share/OVMF/OVMF_CODE.fd",
  swtpm: "/usr/bin/swtpm",
  "swtpm-tools": "/usr/bin/swtpm_setup",
};

/** What Debian's maintainer scripts ask before they start a service. */
const SERVICE_POLICY = "/usr/sbin/policy-rc.d";

const script = join(import.meta.dirname, "without-services.sh");

/** Where Debian has it. */
export const aptGet = "/usr/bin/apt-get";

/** Another apt-get that runs now is waited for. */
const APT_INSTALL = ["-q", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=600"];
const APT = { ...process.env, DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" };

/** Which packages are missing. */
function missingPackages(): string[] {
  return Object.entries(PACKAGES)
    .filter(([, file]) => !existsSync(file))
    .map(([name]) => name);
}

/** Installs libvirt and QEMU unless they are there, without starting any service. Needs root. */
export async function installPackages(report: Report): Promise<void> {
  const missing = missingPackages();
  if (missing.length === 0) {
    if (existsSync(SERVICE_POLICY)) await withoutServices([]);
    return;
  }
  await timed(report, "Debian's package lists", () => run("apt-get", ["update", "-q"], { env: APT }));
  await timed(report, `Debian packages ${missing.join(", ")}`, () =>
    withoutServices(["apt-get", "install", ...APT_INSTALL, ...missing]),
  );
  const still = missingPackages();
  if (still.length > 0) {
    throw new Error(
      `apt-get install succeeded, and nothing that ${still.join(", ")} should have brought is there`,
    );
  }
}

/**
 * Runs a command of Debian's packagers during which no service is started, and removes what an earlier run may have
 * left behind; see without-services.sh. Without a command that is all.
 */
export async function withoutServices(command: readonly string[], policy = SERVICE_POLICY): Promise<void> {
  await run("sh", [script, policy, ...command], { env: APT, endsByItself: true });
}

/**
 * Fetches packages without installing them and returns the files' paths. Of a
 * package that only names another one, such as linux-image-cloud-amd64, the other
 * one is taken.
 */
export async function downloadPackages(packages: readonly string[], directory: string): Promise<string[]> {
  const download = async () => {
    const names = await Promise.all(packages.map(namedBy));
    await run("apt-get", ["download", "-q", ...names], { cwd: directory, env: APT });
  };
  try {
    await download();
  } catch (error) {
    // There may be no lists, or older ones than what the mirrors still have.
    if (!(error instanceof CommandError) || process.getuid?.() !== 0) throw error;
    await run("apt-get", ["update", "-q"], { env: APT });
    await download();
  }
  const files = await readdir(directory);
  return files.filter((file) => file.endsWith(".deb")).map((file) => join(directory, file));
}

async function namedBy(name: string): Promise<string> {
  const depends = await run("apt-cache", ["depends", name], { env: APT });
  return /^ *Depends: (linux-image-\S+)$/m.exec(depends)?.[1] ?? name;
}
