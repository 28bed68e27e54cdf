import { installPackages } from "./debian.ts";
import { goBinary, SUPERVISOR } from "./go-build.ts";
import { guestImage } from "./guest-image.ts";
import { kubeBinaries, kubectlBinary } from "./kube-binaries.ts";
import type { Report } from "./report.ts";
import { checkRequirements } from "./requirements.ts";

/**
 * Installs what is missing of the parts: libvirt with QEMU, the guests' kernel, the API server with etcd, kubectl.
 * Says what it does while it does it. Where nothing is missing it takes milliseconds. Debian packages go to the
 * system, all else to the cache.
 * Rejects at once where the machine lacks what that takes.
 */
export async function setUp(report: Report): Promise<void> {
  await checkRequirements();
  // Installing waits for the network and compiling for the processor: they go together.
  const results = await Promise.allSettled([
    (async () => {
      await step("libvirt and QEMU", installPackages, report);
      await step("guest kernel and initramfs", guestImage, report);
    })(),
    (async () => {
      await step("process supervisor", (line) => goBinary(SUPERVISOR, line), report);
      await step("API server and etcd", kubeBinaries, report);
      await step("kubectl", kubectlBinary, report);
    })(),
  ]);
  const failures = results.filter((result) => result.status === "rejected").map((result) => result.reason);
  if (failures.length === 1) throw failures[0];
  if (failures.length > 1) throw new AggregateError(failures, failures.map(String).join("\n"));
}

/** A step that had nothing to report had nothing to do. */
async function step(
  title: string,
  work: (report: Report) => Promise<unknown>,
  report: Report,
): Promise<void> {
  let silent = true;
  await work((line) => {
    silent = false;
    report(line);
  });
  if (silent) report(`${title}: ready (cached)`);
}
