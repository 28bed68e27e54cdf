import { existsSync } from "node:fs";
import { mkdir, rename, symlink } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { goBinary, KUBE } from "./go-build.ts";
import type { Report } from "./report.ts";

type Command = readonly [string, ...string[]];

/** How to run etcd and the API server on this machine. */
export interface KubeBinaries {
  /** etcd with one member, its data in a directory, serving clients at a URL. */
  readonly etcd: (dataDirectory: string, clientUrl: string) => Command;
  readonly apiServer: (flags: readonly string[]) => Command;
}

/**
 * The binaries that KUBEBUILDER_ASSETS names, as setup-envtest leaves them;
 * otherwise our own, built unless they are cached.
 */
export async function kubeBinaries(report: Report): Promise<KubeBinaries> {
  const assets = process.env["KUBEBUILDER_ASSETS"];
  if (assets === undefined) {
    const kube = await goBinary(KUBE, report);
    return {
      etcd: (dataDirectory, clientUrl) => [kube, "etcd", dataDirectory, clientUrl],
      apiServer: (flags) => [kube, "apiserver", ...flags],
    };
  }
  const etcd = asset(assets, "etcd");
  const apiServer = asset(assets, "kube-apiserver");
  return {
    etcd: (dataDirectory, clientUrl) => [
      etcd,
      `--data-dir=${dataDirectory}`,
      `--listen-client-urls=${clientUrl}`,
      `--advertise-client-urls=${clientUrl}`,
      "--listen-peer-urls=http://127.0.0.1:0",
      "--log-level=warn",
      "--unsafe-no-fsync",
    ],
    apiServer: (flags) => [apiServer, ...flags],
  };
}

/** kubectl: of KUBEBUILDER_ASSETS, of the PATH, or our own under that name. */
export async function kubectlBinary(report: Report): Promise<string> {
  const assets = process.env["KUBEBUILDER_ASSETS"];
  const given = assets === undefined ? onPath("kubectl") : asset(assets, "kubectl");
  return given ?? ownKubectl(report);
}

/** The first executable of that name on the PATH. */
export function onPath(name: string): string | undefined {
  const places = (process.env["PATH"] ?? "").split(delimiter);
  return places.map((place) => join(place, name)).find((path) => existsSync(path));
}

async function ownKubectl(report: Report): Promise<string> {
  const kube = await goBinary(KUBE, report);
  const directory = join(kube, "..", "kubectl-link");
  const link = join(directory, "kubectl");
  if (existsSync(link)) return link;
  await mkdir(directory, { recursive: true });
  // Made aside and renamed: another process may do the same now.
  const aside = join(directory, `kubectl.${process.pid}`);
  await symlink(kube, aside);
  await rename(aside, link);
  return link;
}

function asset(directory: string, name: string): string {
  const path = join(directory, name);
  if (!existsSync(path)) {
    throw new Error(
      `KUBEBUILDER_ASSETS is ${directory}, and there is no ${name} in it: ` +
        "let `setup-envtest use -p path` name the directory, or unset it to build our own.",
    );
  }
  return path;
}
