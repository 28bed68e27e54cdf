import assert from "node:assert/strict";
import { test } from "node:test";
import { CallTimeoutError, procedures, type Aftermath } from "libvirt";
import { callPatiently, checkNoneHangs, FileHangsError } from "../../../src/hypervisor/hanging-file.ts";
import type { Caller } from "../../../src/hypervisor/caller.ts";

/** A session that answers when it is told to. */
function slow() {
  const answer = Promise.withResolvers<never>();
  const caller: Caller = { call: () => answer.promise };
  return { caller, answer };
}

test("a file that answers in time hangs nowhere", async () => {
  const { caller, answer } = slow();
  const call = callPatiently(caller, "m", procedures.connectGetUri, {});
  answer.resolve({ uri: "x" } as never);
  assert.deepEqual(await call, { uri: "x" });
  checkNoneHangs(caller, "m");
});

test("a file that hangs keeps its machine, and no other, from being looked at until it answers", async () => {
  const { caller, answer } = slow();
  const aftermath = Promise.withResolvers<Aftermath>();
  const call = callPatiently(caller, "m", procedures.connectGetUri, {});
  answer.reject(new CallTimeoutError("CONNECT_GET_URI", 1, aftermath.promise));
  const error = await call.then(
    () => assert.fail("it hangs"),
    (cause: unknown) => cause,
  );
  assert.ok(error instanceof FileHangsError);
  assert.equal(error.sent, true);
  assert.throws(() => checkNoneHangs(caller, "m"), error);
  checkNoneHangs(caller, "another");
  checkNoneHangs(slow().caller, "m");
  aftermath.resolve("Lost");
  await error.aftermath;
  checkNoneHangs(caller, "m");
});
