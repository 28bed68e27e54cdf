import { generateKeyPairSync, randomUUID } from "node:crypto";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { get } from "node:https";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { kubeBinaries, kubectlBinary } from "./kube-binaries.ts";
import { freePort } from "./ports.ts";
import { toStderr } from "./report.ts";
import { run } from "./run.ts";
import { lastLines, supervise, type SignalName, type Supervised } from "./supervised.ts";
import { removeDirectory, temporaryDirectory } from "./temp-directory.ts";

const READY_WITHIN_MS = 60_000;

/** What a test may want otherwise. */
export interface ApiServerOptions {
  /** Users besides the administrator, with their groups: RBAC alone says what they may do. */
  readonly users?: Readonly<Record<string, readonly string[]>>;
}

/** A real API server with an etcd of its own, on free ports of 127.0.0.1. */
export interface ApiServer extends AsyncDisposable {
  readonly url: string;
  /** A kubeconfig file for the administrator. */
  readonly kubeconfig: string;
  /** The certificate authority that the server's certificate is checked with. */
  readonly caFile: string;
  /** The two processes, to signal one and not the other. */
  readonly apiServer: Supervised;
  readonly etcd: Supervised;
  /** Where kubectl is, which need not be on the PATH. */
  readonly kubectlPath: string;
  /** Runs kubectl as the administrator; resolves to its stdout, rejects with its stderr. */
  kubectl(...args: string[]): Promise<string>;
  /** Applies manifests in YAML or JSON, with further arguments such as "--server-side". */
  apply(manifests: string, ...args: string[]): Promise<string>;
  /** The bearer token of one of the options' users. */
  tokenFor(user: string): string;
  /** A new token of a service account, which must exist. */
  serviceAccountToken(namespace: string, name: string): Promise<string>;
  /** A kubeconfig file for the bearer of a token. */
  kubeconfigFor(token: string): Promise<string>;
  /** Stops the API server and leaves etcd running; returns when it is gone. */
  stopApiServer(): Promise<void>;
  /** Starts it again on the same port with the same data; returns when it is ready. */
  startApiServer(): Promise<void>;
  /** Both. */
  restart(): Promise<void>;
  /** Sends the API server a signal; KILL unless told. */
  kill(signal?: SignalName): Promise<void>;
  /** Copies etcd's data as it is at this moment; resolves to where the copy is. */
  backUp(): Promise<string>;
  /** Stops both, puts the data of a backup in place and starts them again: what was written since never happened. */
  restore(backup: string): Promise<void>;
  /** Ends both processes and removes their data. */
  close(): Promise<void>;
}

/**
 * Starts etcd and an API server with RBAC and resolves when /readyz says so. Both
 * end with this process at the latest. There is no controller manager and no
 * kubelet: nothing collects garbage, no pods run, and the roles that others are
 * gathered into, such as "view", are empty.
 */
export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const directory = temporaryDirectory();
  await using undo = new AsyncDisposableStack();
  undo.defer(() => removeDirectory(directory));
  const binaries = await kubeBinaries(toStderr);
  const kubectlPath = await kubectlBinary(toStderr);

  const tokens = await writeTokens(join(directory, "tokens.csv"), options.users ?? {});
  const [etcdPort, port] = [await freePort(), await freePort()];
  const etcdUrl = `http://127.0.0.1:${etcdPort}`;
  const data = join(directory, "etcd");
  const logFile = join(directory, "apiserver.log");
  const etcd = undo.use(
    await supervise({
      command: binaries.etcd(data, etcdUrl),
      logFile: join(directory, "etcd.log"),
      removes: directory,
    }),
  );
  const flags = await flagsFor(directory, etcdUrl, port);
  const apiServer = undo.use(
    await supervise({ command: binaries.apiServer(flags), logFile, removes: directory }),
  );

  const url = `https://127.0.0.1:${port}`;
  // The server signs its certificate itself, so the file is its own authority.
  const caFile = join(directory, "certificates", "apiserver.crt");
  const start = async () => {
    await apiServer.start();
    await untilReady(url, tokens.admin, caFile, apiServer, logFile);
  };
  const stop = async () => {
    await apiServer.signal("TERM");
    await apiServer.exited();
  };
  const kubeconfigFor = (token: string) => writeKubeconfig(directory, url, caFile, token);
  const kubeconfig = await kubeconfigFor(tokens.admin);
  const kubectl = (args: readonly string[], input = "") =>
    // Discovery is cached by address, and ~/.kube would mix up servers that had the same port.
    run(kubectlPath, ["--cache-dir", join(directory, "kubectl-cache"), ...args], {
      input,
      env: { ...process.env, KUBECONFIG: kubeconfig, HOME: directory },
    });

  let backups = 0;
  await etcd.start();
  await start();
  const owned = undo.move();
  const close = () => owned.disposeAsync();
  return {
    url,
    kubeconfig,
    caFile,
    apiServer,
    etcd,
    kubectlPath,
    kubectl: (...args) => kubectl(args),
    apply: (manifests, ...args) => kubectl(["apply", ...args, "-f", "-"], manifests),
    tokenFor(user) {
      const token = tokens.byUser.get(user);
      if (token === undefined) throw new Error(`no user ${user}: name it in startApiServer({ users })`);
      return token;
    },
    async serviceAccountToken(namespace, name) {
      // The default of an hour is over before a soak is.
      const lifetime = ["--duration", "24h"];
      return (await kubectl(["create", "token", name, "--namespace", namespace, ...lifetime])).trim();
    },
    kubeconfigFor,
    stopApiServer: stop,
    startApiServer: start,
    async restart() {
      await stop();
      await start();
    },
    kill: (signal = "KILL") => apiServer.signal(signal),
    async backUp() {
      backups += 1;
      const backup = join(directory, `backup-${backups}`);
      // As after a crash at this moment, which etcd recovers from; while it writes, a copy would be torn.
      await etcd.signal("STOP");
      // Its log is 64 MiB of which most is a hole.
      await run("cp", ["-r", "--sparse=always", data, backup]);
      await etcd.signal("CONT");
      return backup;
    },
    async restore(backup) {
      await Promise.all([apiServer, etcd].map((server) => server.signal("KILL")));
      await Promise.all([apiServer.exited(), etcd.exited()]);
      await rm(data, { recursive: true });
      await run("cp", ["-r", "--sparse=always", backup, data]);
      await etcd.start();
      await start();
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Tokens in the form that --token-auth-file reads. */
async function writeTokens(
  path: string,
  users: Readonly<Record<string, readonly string[]>>,
): Promise<{ admin: string; byUser: Map<string, string> }> {
  const admin = randomUUID();
  const byUser = new Map<string, string>();
  const lines = [`${admin},admin,admin,"system:masters"`];
  for (const [user, groups] of Object.entries(users)) {
    const token = randomUUID();
    byUser.set(user, token);
    lines.push(`${token},${user},${user},"${groups.join(",")}"`);
  }
  await writeFile(path, `${lines.join("\n")}\n`);
  return { admin, byUser };
}

async function flagsFor(directory: string, etcdUrl: string, port: number): Promise<string[]> {
  const keyFile = join(directory, "service-account.key");
  // A curve: making an RSA key would take a good part of a second.
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  await writeFile(keyFile, privateKey.export({ type: "sec1", format: "pem" }));
  await mkdir(join(directory, "certificates"));
  return [
    `--etcd-servers=${etcdUrl}`,
    "--bind-address=127.0.0.1",
    `--secure-port=${port}`,
    `--cert-dir=${join(directory, "certificates")}`,
    `--token-auth-file=${join(directory, "tokens.csv")}`,
    "--authorization-mode=RBAC",
    "--service-cluster-ip-range=10.0.0.0/24",
    "--service-account-issuer=https://kubernetes.default.svc",
    `--service-account-key-file=${keyFile}`,
    `--service-account-signing-key-file=${keyFile}`,
    // It waits for a default service account that only a controller manager would make.
    "--disable-admission-plugins=ServiceAccount",
    // Neither queues between tests nor its own endpoints are of use here; both cost start-up time.
    "--enable-priority-and-fairness=false",
    "--endpoint-reconciler-type=none",
    // Otherwise an open watch keeps a server that was asked to end alive for a minute.
    "--shutdown-watch-termination-grace-period=1s",
  ];
}

async function writeKubeconfig(
  directory: string,
  url: string,
  caFile: string,
  token: string,
): Promise<string> {
  const path = join(directory, `kubeconfig-${token.slice(-12)}.json`);
  const config = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "test",
    clusters: [{ name: "test", cluster: { server: url, "certificate-authority": caFile } }],
    users: [{ name: "test", user: { token } }],
    contexts: [{ name: "test", context: { cluster: "test", user: "test", namespace: "default" } }],
  };
  // JSON is YAML.
  await writeFile(path, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o600 });
  return path;
}

async function untilReady(
  url: string,
  token: string,
  caFile: string,
  server: Supervised,
  logFile: string,
): Promise<void> {
  let ended: string | undefined;
  void server.exited().then((how) => (ended = how));
  const deadline = performance.now() + READY_WITHIN_MS;
  while (!(await isReady(url, token, caFile))) {
    if (ended !== undefined) throw new Error(`the API server ended with ${ended}:\n${lastLines(logFile)}`);
    if (performance.now() > deadline) {
      throw new Error(`the API server was not ready after ${READY_WITHIN_MS} ms:\n${lastLines(logFile)}`);
    }
    // Another program's readiness is no event of ours: ask.
    await delay(20);
  }
}

async function isReady(url: string, token: string, caFile: string): Promise<boolean> {
  const ca = await readFile(caFile).catch(() => undefined);
  if (ca === undefined) return false;
  return new Promise((resolve) => {
    const headers = { authorization: `Bearer ${token}` };
    get(`${url}/readyz`, { ca, headers, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    }).on("error", () => resolve(false));
  });
}
