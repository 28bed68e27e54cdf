import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { inClusterCredentials } from "../../../src/kubernetes/in-cluster.ts";
import { ManualClock } from "./manual-clock.ts";

const ENVIRONMENT = { KUBERNETES_SERVICE_HOST: "10.0.0.1", KUBERNETES_SERVICE_PORT: "443" };

/** A service account as the kubelet mounts it. */
async function serviceAccount() {
  const path = await mkdtemp(join(tmpdir(), "serviceaccount-"));
  await writeFile(join(path, "token"), "first\n");
  await writeFile(join(path, "ca.crt"), "certificate");
  await writeFile(join(path, "namespace"), "warmboot\n");
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

test("A pod's service account says where the API server is, and proves who asks", async () => {
  await using account = await serviceAccount();
  const credentials = await inClusterCredentials(ENVIRONMENT, account.path);
  assert.equal(credentials?.server, "https://10.0.0.1");
  assert.equal(credentials.namespace, "warmboot");
  assert.deepEqual(await credentials.current(), {
    headers: { authorization: "Bearer first" },
    material: { tls: { ca: Buffer.from("certificate") } },
  });
});

test("An IPv6 address becomes a URL", async () => {
  await using account = await serviceAccount();
  const environment = { KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "6443" };
  assert.equal((await inClusterCredentials(environment, account.path))?.server, "https://[fd00::1]:6443");
});

test("A renewed token is used after a minute, and at once when the former is refused", async () => {
  await using account = await serviceAccount();
  const clock = new ManualClock();
  const credentials = await inClusterCredentials(ENVIRONMENT, account.path, clock);
  const token = async () => (await credentials?.current())?.headers["authorization"];
  await writeFile(join(account.path, "token"), "second");
  await clock.advance(59_000);
  assert.equal(await token(), "Bearer first");
  await clock.advance(2_000);
  assert.equal(await token(), "Bearer second");
  await writeFile(join(account.path, "token"), "third");
  assert.equal(await credentials?.renew(), false, "read only just now");
  await clock.advance(5_000);
  assert.equal(await credentials?.renew(), true);
  assert.equal(await token(), "Bearer third");
});

test("Outside of a cluster there is none, and a pod without its files is told so", async () => {
  assert.equal(await inClusterCredentials({}), undefined);
  await assert.rejects(inClusterCredentials(ENVIRONMENT, "/nowhere"), /automountServiceAccountToken/);
});
