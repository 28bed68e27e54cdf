import { readFile } from "node:fs/promises";
import { isIPv6 } from "node:net";
import { join } from "node:path";
import { type Clock, systemClock } from "./clock.ts";
import { type Authentication, type Credentials, serverUrl } from "./credentials.ts";
import { CredentialsError } from "./errors.ts";

/** Where the kubelet mounts the service account of a pod. */
const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

/** The kubelet renews the token long before it ends (by default after 80 % of its hour). */
const REREAD_AFTER_MS = 60_000;

/** A token that the API server refuses is not read again more often than this. */
const RENEW_AT_MOST_EVERY_MS = 1_000;

/**
 * The service account of the pod that this process runs in, or undefined outside of a cluster.
 * It is implemented here, although client-node has it too: loading that package costs 0.7 s and
 * 60 MB, and what a pod needs of it is two files.
 * @param environment the process's environment variables
 * @param root where the service account is mounted; replaced in tests
 */
export async function inClusterCredentials(
  environment: NodeJS.ProcessEnv,
  root: string = SERVICE_ACCOUNT,
  clock: Pick<Clock, "now"> = systemClock,
): Promise<Credentials | undefined> {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = environment;
  if (host === undefined || host === "" || port === undefined || port === "") return undefined;
  const credentials = new InCluster(
    `https://${isIPv6(host) ? `[${host}]` : host}:${port}`,
    await readFile(join(root, "namespace"), "utf8").catch(() => undefined),
    root,
    clock,
  );
  // Says now, and not with the first request, that the files are not there.
  await credentials.current();
  return credentials;
}

class InCluster implements Credentials {
  readonly server: string;
  readonly namespace: string | undefined;
  readonly #root: string;
  readonly #clock: Pick<Clock, "now">;
  #read: { authentication: Promise<Authentication>; atMs: number } | undefined;

  constructor(server: string, namespace: string | undefined, root: string, clock: Pick<Clock, "now">) {
    this.#clock = clock;
    this.server = serverUrl(server);
    this.namespace = namespace?.trim();
    this.#root = root;
  }

  current(): Promise<Authentication> {
    if (this.#read === undefined || this.#clock.now() - this.#read.atMs > REREAD_AFTER_MS) {
      const read = { authentication: this.#readFiles(), atMs: this.#clock.now() };
      this.#read = read;
      read.authentication.catch(() => {
        if (this.#read === read) this.#read = undefined;
      });
    }
    return this.#read.authentication;
  }

  async renew(): Promise<boolean> {
    if (this.#read !== undefined && this.#clock.now() - this.#read.atMs < RENEW_AT_MOST_EVERY_MS)
      return false;
    this.#read = undefined;
    return true;
  }

  async #readFiles(): Promise<Authentication> {
    try {
      const [token, ca] = await Promise.all([
        readFile(join(this.#root, "token"), "utf8"),
        readFile(join(this.#root, "ca.crt")),
      ]);
      return { headers: { authorization: `Bearer ${token.trim()}` }, material: { tls: { ca } } };
    } catch {
      throw new CredentialsError(
        `the service account of this pod cannot be read from ${this.#root}: is automountServiceAccountToken off?`,
      );
    }
  }
}
