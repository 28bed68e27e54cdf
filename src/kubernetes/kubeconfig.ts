import { access } from "node:fs/promises";
import type { RequestOptions } from "node:https";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import type { Cluster, KubeConfig } from "@kubernetes/client-node";
import { type Clock, systemClock } from "./clock.ts";
import { type Authentication, type Credentials, serverUrl, type TlsMaterial } from "./credentials.ts";
import { CredentialsError } from "./errors.ts";

/** What is read from files and plugins is believed for this long: a request must not read three files. */
const BELIEVED_MS = 1_000;

/** A kubeconfig whose credentials are refused is not loaded again more often than this. */
const RELOAD_AT_MOST_EVERY_MS = 10_000;

/** Which kubeconfig, and which context of it. */
export interface KubeconfigChoice {
  /** One file; without it those of KUBECONFIG, or ~/.kube/config. */
  path?: string | undefined;
  /** Without it the current context of the kubeconfig. */
  context?: string | undefined;
}

/** The files that the choice means, or undefined if there is none: then only a cluster around us can help. */
export async function kubeconfigFiles(
  choice: KubeconfigChoice,
  environment: NodeJS.ProcessEnv,
): Promise<string[] | undefined> {
  if (choice.path !== undefined) return [choice.path];
  const listed = (environment["KUBECONFIG"] ?? "").split(delimiter).filter((path) => path !== "");
  if (listed.length > 0) {
    // As kubectl: a file of the list may be missing, but not all of them.
    const there = await Promise.all(listed.map(exists));
    const found = listed.filter((_, position) => there[position]);
    return found.length > 0 ? found : listed.slice(0, 1);
  }
  const usual = join(environment["HOME"] ?? homedir(), ".kube", "config");
  return (await exists(usual)) ? [usual] : undefined;
}

/** Credentials by client-node's KubeConfig: tokens, client certificates, exec plugins, OIDC. */
export async function kubeconfigCredentials(
  files: readonly string[],
  context?: string,
  clock: Pick<Clock, "now"> = systemClock,
): Promise<Credentials> {
  return new Kubeconfig(files, context, await load(files, context), clock);
}

class Kubeconfig implements Credentials {
  readonly server: string;
  readonly proxy: string | undefined;
  readonly namespace: string | undefined;
  readonly #files: readonly string[];
  readonly #context: string | undefined;
  #config: KubeConfig;
  readonly #clock: Pick<Clock, "now">;
  #loadedAtMs: number;
  #asked: { authentication: Promise<Authentication>; atMs: number } | undefined;

  constructor(
    files: readonly string[],
    context: string | undefined,
    config: KubeConfig,
    clock: Pick<Clock, "now">,
  ) {
    this.#clock = clock;
    this.#loadedAtMs = clock.now();
    this.#files = files;
    this.#context = context;
    this.#config = config;
    const cluster = config.getCurrentCluster();
    this.server = serverUrl(cluster?.server ?? "");
    this.proxy = cluster === null ? undefined : proxyOf(cluster)?.origin;
    this.namespace = config.getContextObject(config.getCurrentContext())?.namespace;
  }

  current(): Promise<Authentication> {
    if (this.#asked === undefined || this.#clock.now() - this.#asked.atMs > BELIEVED_MS) {
      // The promise is shared: client-node would start an exec plugin once for each request that waits.
      const asked = { authentication: authenticate(this.#config), atMs: this.#clock.now() };
      this.#asked = asked;
      asked.authentication.then(
        // A slow plugin's answer counts from when it came.
        () => (asked.atMs = this.#clock.now()),
        () => {
          if (this.#asked === asked) this.#asked = undefined;
        },
      );
    }
    return this.#asked.authentication;
  }

  async renew(): Promise<boolean> {
    // OIDC refresh tokens may be good for one use, and client-node keeps the next one in memory only.
    if (this.#config.getCurrentUser()?.authProvider?.name === "oidc") return false;
    if (this.#clock.now() - this.#loadedAtMs < RELOAD_AT_MOST_EVERY_MS) return false;
    this.#loadedAtMs = this.#clock.now();
    // Another process may have renewed the file; and a new KubeConfig asks its plugins anew.
    const config = await load(this.#files, this.#context);
    if (serverUrl(config.getCurrentCluster()?.server ?? "") !== this.server) return false;
    this.#config = config;
    this.#asked = undefined;
    return true;
  }
}

async function load(files: readonly string[], context: string | undefined): Promise<KubeConfig> {
  // Loaded only where a kubeconfig is used: see incluster.ts for what it costs.
  const { KubeConfig: Config } = await import("@kubernetes/client-node");
  const config = new Config();
  for (const file of files) {
    const next = new Config();
    try {
      next.loadFromFile(file);
    } catch (error) {
      throw new CredentialsError(`the kubeconfig ${file} cannot be read: ${whyUnreadable(error)}`);
    }
    merge(config, next);
  }
  if (context !== undefined) config.setCurrentContext(context);
  check(config, files.join(delimiter));
  return config;
}

/** As kubectl: whatever comes first wins. client-node's own mergeConfig throws on a repeated name. */
function merge(config: KubeConfig, next: KubeConfig): void {
  for (const each of next.getClusters()) if (config.getCluster(each.name) === null) config.addCluster(each);
  for (const each of next.getUsers()) if (config.getUser(each.name) === null) config.addUser(each);
  for (const each of next.getContexts()) {
    if (config.getContextObject(each.name) === null) config.addContext(each);
  }
  const current: string | undefined = config.getCurrentContext();
  if (current === undefined || current === "") config.setCurrentContext(next.getCurrentContext());
}

/** Says now what would otherwise surface as a confusing failure of the first request. */
function check(config: KubeConfig, source: string): void {
  const name = config.getCurrentContext();
  const context = config.getContextObject(name);
  if (context === null || context === undefined) {
    const names = config.getContexts().map((each) => each.name);
    throw new CredentialsError(
      `the kubeconfig ${source} has no context ${JSON.stringify(name ?? "")}; it has: ${names.join(", ") || "none"}`,
    );
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null || !URL.canParse(cluster.server)) {
    throw new CredentialsError(
      `the context ${name} of the kubeconfig ${source} names the cluster ${JSON.stringify(context.cluster)}, ` +
        "which it does not have or which has no valid server URL",
    );
  }
  // undici's SOCKS client is experimental and cannot do TLS to an IP address.
  if (!["http:", "https:", undefined].includes(proxyOf(cluster)?.protocol)) {
    throw new CredentialsError(
      `the cluster ${JSON.stringify(context.cluster)} of the kubeconfig ${source} has a proxy-url ` +
        "that is neither http:// nor https://: use an HTTP proxy",
    );
  }
  if (context.user !== undefined && context.user !== "" && config.getCurrentUser() === null) {
    throw new CredentialsError(
      `the context ${name} of the kubeconfig ${source} names the user ${JSON.stringify(context.user)}, ` +
        "which it does not have",
    );
  }
}

async function authenticate(config: KubeConfig): Promise<Authentication> {
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw new CredentialsError("the kubeconfig has no cluster for its context");
  const proxy = proxyOf(cluster)?.href;
  // As client-go: credentials never travel in clear text. This is also what `kubectl proxy` needs.
  if (cluster.server.startsWith("http:")) return { headers: {}, material: { tls: {}, proxy } };
  const options: RequestOptions = {};
  try {
    // client-node leaves out even the certificate authority where there is no user.
    if (config.getCurrentUser() === null)
      return { headers: {}, material: { tls: await anonymousTls(cluster), proxy } };
    await config.applyToHTTPSOptions(options);
  } catch (error) {
    throw new CredentialsError(whyUnauthenticated(error, config));
  }
  return { headers: headersOf(options), material: { tls: tlsOf(options), proxy } };
}

function proxyOf({ proxyUrl }: Cluster): URL | undefined {
  if (proxyUrl === undefined || proxyUrl === "") return undefined;
  return URL.canParse(proxyUrl) ? new URL(proxyUrl) : new URL("invalid:");
}

async function anonymousTls(cluster: Cluster): Promise<TlsMaterial> {
  const { bufferFromFileOrString } = await import("@kubernetes/client-node");
  const ca = bufferFromFileOrString(cluster.caFile, cluster.caData);
  return {
    ...(ca === null ? {} : { ca }),
    ...(cluster.tlsServerName === undefined ? {} : { servername: cluster.tlsServerName }),
    ...(cluster.skipTLSVerify ? { rejectUnauthorized: false } : {}),
  };
}

function headersOf(options: RequestOptions): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {}))
    headers[name.toLowerCase()] = String(value);
  if (typeof options.auth === "string" && headers["authorization"] === undefined) {
    headers["authorization"] = `Basic ${Buffer.from(options.auth).toString("base64")}`;
  }
  return headers;
}

function tlsOf(options: RequestOptions): TlsMaterial {
  const { ca, cert, key, servername, rejectUnauthorized } = options;
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(servername === undefined ? {} : { servername }),
    ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
  };
}

/** js-yaml quotes the lines around a mistake, which may be a key: only where it is may be said. */
function whyUnreadable(error: unknown): string {
  if (!(error instanceof Error)) return "it is not a kubeconfig";
  if ("code" in error && typeof error.code === "string") return error.code;
  if ("mark" in error && typeof error.mark === "object" && error.mark !== null && "line" in error.mark) {
    return `it is not valid YAML (line ${Number(error.mark.line) + 1})`;
  }
  return "it is not a kubeconfig";
}

function whyUnauthenticated(error: unknown, config: KubeConfig): string {
  const user = config.getCurrentUser();
  const command: unknown = user?.exec?.command;
  if (typeof command === "string") {
    const missing = error instanceof Error && "code" in error && error.code === "ENOENT";
    const what = missing ? "was not found" : "failed or did not print an ExecCredential";
    return `the credential plugin ${JSON.stringify(command)} of the kubeconfig ${what}: run it by hand to see why`;
  }
  const provider: unknown = user?.authProvider?.name;
  if (typeof provider === "string") {
    return `the auth provider ${JSON.stringify(provider)} of the kubeconfig gave no credentials: log in again`;
  }
  const code = error instanceof Error && "code" in error ? ` (${String(error.code)})` : "";
  return `the certificates and keys that the kubeconfig names cannot be read${code}`;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
