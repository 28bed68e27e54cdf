import { installPackages } from "./debian.ts";
import { goBinary, SUPERVISOR } from "./go-build.ts";
import { guestImage } from "./guest-image.ts";
import { kubeBinaries, kubectlBinary } from "./kube-binaries.ts";
import type { Report } from "./report.ts";

/** What can be set up: libvirt with QEMU, the guests' kernel, the API server with etcd, kubectl. */
export const everyPart = ["libvirt", "guest", "apiserver", "kubectl"] as const;

/** One of them. */
export type Part = (typeof everyPart)[number];

/**
 * Installs what is missing of the parts, and says what it does while it does it.
 * Where nothing is missing it takes milliseconds, so everything that needs a part
 * may ask for it. Debian packages go to the system, all else to the cache.
 */
export async function setUp(parts: readonly Part[], report: Report): Promise<void> {
  const wanted = (part: Part) => parts.includes(part);
  // Installing waits for the network and compiling for the processor: they go together.
  const results = await Promise.allSettled([
    (async () => {
      if (wanted("libvirt")) await step("libvirt and QEMU", installPackages, report);
      if (wanted("guest")) await step("guest kernel and initramfs", guestImage, report);
    })(),
    (async () => {
      await step("process supervisor", (line) => goBinary(SUPERVISOR, line), report);
      if (wanted("apiserver")) await step("API server and etcd", kubeBinaries, report);
      if (wanted("kubectl")) await step("kubectl", kubectlBinary, report);
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
