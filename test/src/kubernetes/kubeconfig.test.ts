import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";
import { CredentialsError } from "../../../src/kubernetes/errors.ts";
import { kubeconfigCredentials, kubeconfigFiles } from "../../../src/kubernetes/kubeconfig.ts";
import { ManualClock } from "./manual-clock.ts";

/** What a test states of a kubeconfig; the rest is as usual. */
interface Config {
  cluster?: Record<string, unknown>;
  user?: Record<string, unknown>;
  context?: Record<string, unknown>;
  current?: string;
  name?: string;
}

function kubeconfig({ cluster, user, context, current, name = "test" }: Config = {}): string {
  // JSON is YAML.
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": current ?? name,
    clusters: [{ name, cluster: { server: "https://server:6443/", ...cluster } }],
    users: [{ name, user: { token: "hunter2", ...user } }],
    contexts: [{ name, context: { cluster: name, user: name, ...context } }],
  });
}

/** A directory of files that is gone after the test. */
async function directory(files: Record<string, string>) {
  const path = await mkdtemp(join(tmpdir(), "kubeconfig-"));
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(path, name), content, { mode: 0o700 });
  }
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

async function loaded(config: Config) {
  await using files = await directory({ config: kubeconfig(config) });
  return kubeconfigCredentials([join(files.path, "config")]);
}

async function refused(content: string, context?: string): Promise<CredentialsError> {
  await using files = await directory({ config: content });
  const failed = kubeconfigCredentials([join(files.path, "config")], context);
  const error: unknown = await failed.then((credentials) => credentials.current()).catch((e: unknown) => e);
  assert.ok(error instanceof CredentialsError, String(error));
  assert.doesNotMatch(inspect(error, { depth: 9 }), /hunter2/);
  return error;
}

test("A file that is named comes first, then KUBECONFIG, then ~/.kube/config, then none", async () => {
  await using home = await directory({ "other.yaml": kubeconfig() });
  const other = join(home.path, "other.yaml");
  const missing = join(home.path, "missing");
  const list = [missing, other].join(delimiter);
  assert.deepEqual(await kubeconfigFiles({ path: "/x" }, { KUBECONFIG: other }), ["/x"]);
  assert.deepEqual(await kubeconfigFiles({}, { KUBECONFIG: other, HOME: home.path }), [other]);
  assert.deepEqual(
    await kubeconfigFiles({}, { KUBECONFIG: list }),
    [other],
    "as kubectl, without the missing one",
  );
  assert.deepEqual(
    await kubeconfigFiles({}, { KUBECONFIG: missing }),
    [missing],
    "to be told that it is missing",
  );
  assert.equal(await kubeconfigFiles({}, { HOME: home.path }), undefined);
});

test("A token, the certificate authority and the namespace are taken from the kubeconfig", async () => {
  const ca = Buffer.from("certificate").toString("base64");
  const credentials = await loaded({
    cluster: { "certificate-authority-data": ca, "tls-server-name": "api" },
    context: { namespace: "vms" },
  });
  assert.equal(credentials.server, "https://server:6443");
  assert.equal(credentials.namespace, "vms");
  assert.deepEqual(await credentials.current(), {
    headers: { authorization: "Bearer hunter2" },
    material: { tls: { ca: Buffer.from("certificate"), servername: "api" }, proxy: undefined },
  });
});

test("Client certificates, passwords, impersonation, proxies and skipped verification are taken too", async () => {
  const data = Buffer.from("pem").toString("base64");
  const credentials = await loaded({
    cluster: { "proxy-url": "http://ann:secret@proxy:3128", "insecure-skip-tls-verify": true },
    user: {
      token: undefined,
      username: "ann",
      password: "secret",
      as: "bob",
      "client-certificate-data": data,
      "client-key-data": data,
    },
  });
  const { headers, material } = await credentials.current();
  assert.deepEqual(headers, {
    authorization: `Basic ${Buffer.from("ann:secret").toString("base64")}`,
    "impersonate-user": "bob",
  });
  assert.equal(material.proxy, "http://ann:secret@proxy:3128/");
  assert.equal(credentials.proxy, "http://proxy:3128");
  assert.deepEqual(material.tls, {
    cert: Buffer.from("pem"),
    key: Buffer.from("pem"),
    rejectUnauthorized: false,
  });
});

test("A server without TLS gets no credentials, as with kubectl", async () => {
  const credentials = await loaded({ cluster: { server: "http://127.0.0.1:8001" } });
  assert.deepEqual((await credentials.current()).headers, {});
});

test("Without a user the certificate authority still counts", async () => {
  const ca = Buffer.from("certificate").toString("base64");
  const credentials = await loaded({
    cluster: { "certificate-authority-data": ca },
    context: { user: undefined },
  });
  assert.deepEqual(await credentials.current(), {
    headers: {},
    material: { tls: { ca: Buffer.from("certificate") }, proxy: undefined },
  });
});

test("Several files are merged: the first current context and the first of each name win", async () => {
  await using files = await directory({
    a: kubeconfig({ name: "a" }),
    b: kubeconfig({ name: "b", cluster: { server: "https://b" } }),
    again: kubeconfig({ name: "a", cluster: { server: "https://again" } }),
  });
  const paths = ["a", "b", "again"].map((name) => join(files.path, name));
  assert.equal((await kubeconfigCredentials(paths)).server, "https://server:6443");
  assert.equal((await kubeconfigCredentials(paths, "b")).server, "https://b");
});

test("A kubeconfig that cannot be used is refused with what is wrong, and none of its secrets", async () => {
  const table: [string, string, string | undefined, RegExp][] = [
    ["an unknown context", kubeconfig(), "prod", /has no context "prod"; it has: test/],
    ["no current context", kubeconfig({ current: "" }), undefined, /has no context ""/],
    ["a missing cluster", kubeconfig({ context: { cluster: "x" } }), undefined, /names the cluster "x"/],
    [
      "a server that is no URL",
      kubeconfig({ cluster: { server: "nowhere" } }),
      undefined,
      /no valid server URL/,
    ],
    ["a missing user", kubeconfig({ context: { user: "x" } }), undefined, /names the user "x"/],
    [
      "SOCKS",
      kubeconfig({ cluster: { "proxy-url": "socks5://localhost" } }),
      undefined,
      /neither http:\/\/ nor/,
    ],
    ["no proxy URL", kubeconfig({ cluster: { "proxy-url": "hunter2" } }), undefined, /neither http:\/\/ nor/],
    ["broken YAML", 'a: 1\ntoken: "hunter2\nb: [', undefined, /not valid YAML \(line \d+\)/],
    ["no mapping", "hunter2", undefined, /not a kubeconfig|has no context/],
    [
      "a missing key file",
      kubeconfig({ user: { "client-key": "nowhere" } }),
      undefined,
      /cannot be read \(ENOENT\)/,
    ],
  ];
  for (const [sentence, content, context, message] of table) {
    assert.match((await refused(content, context)).message, message, sentence);
  }
});

test("A file that is not there is named", async () => {
  await assert.rejects(
    kubeconfigCredentials(["/nowhere/config"]),
    /the kubeconfig \/nowhere\/config .* ENOENT/,
  );
});

/** A kubeconfig whose credentials come from a plugin, which counts its calls. */
function plugin(script: string): Config {
  const exec = { apiVersion: "client.authentication.k8s.io/v1", command: "/bin/sh", args: ["-c", script] };
  return { user: { token: undefined, exec } };
}

test("A credential plugin is run once for many requests, and again when its token was refused", async () => {
  await using files = await directory({});
  const count = join(files.path, "count");
  const script = `echo x >> ${count}; printf '{"status":{"token":"t%s"}}' $(wc -l < ${count})`;
  const path = join(files.path, "config");
  await writeFile(path, kubeconfig(plugin(script)));
  const clock = new ManualClock();
  const credentials = await kubeconfigCredentials([path], undefined, clock);
  const all = await Promise.all(Array.from({ length: 20 }, () => credentials.current()));
  assert.deepEqual(new Set(all.map(({ headers }) => headers["authorization"])), new Set(["Bearer t1"]));
  assert.equal(await readFile(count, "utf8"), "x\n");
  assert.equal(await credentials.renew(), false, "not so soon: the answer would be the same");
  await clock.advance(10_000);
  assert.equal((await credentials.current()).headers["authorization"], "Bearer t1");
  assert.equal(await credentials.renew(), true);
  assert.equal((await credentials.current()).headers["authorization"], "Bearer t2");
});

test("A kubeconfig that was rewritten is read again when its token was refused", async () => {
  await using files = await directory({ config: kubeconfig() });
  const path = join(files.path, "config");
  const clock = new ManualClock();
  const credentials = await kubeconfigCredentials([path], undefined, clock);
  await writeFile(path, kubeconfig({ user: { token: "new" } }));
  await clock.advance(10_000);
  assert.equal((await credentials.current()).headers["authorization"], "Bearer hunter2");
  assert.equal(await credentials.renew(), true);
  assert.equal((await credentials.current()).headers["authorization"], "Bearer new");
});

test("A plugin that fails, prints nonsense or is missing is named, and its output is not quoted", async () => {
  const failures = ["echo hunter2 >&2; exit 1", "echo hunter2", "echo '{\"hunter2\":'"];
  for (const script of failures) {
    assert.match((await refused(kubeconfig(plugin(script)))).message, /plugin "\/bin\/sh" .*run it by hand/);
  }
  const missing = { user: { exec: { command: "no-such-plugin" } } };
  assert.match((await refused(kubeconfig(missing))).message, /plugin "no-such-plugin" .* was not found/);
});
