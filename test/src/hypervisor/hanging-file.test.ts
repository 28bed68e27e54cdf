import assert from "node:assert/strict";
import { test } from "node:test";
import { procedures } from "libvirt";
import {
  callPatiently,
  checkNoneHangs,
  FileHangsError,
  fileTimeoutMs,
} from "../../../src/hypervisor/hanging-file.ts";
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

test("a file that hangs keeps its machine, and no other, from being looked at until it answers", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { caller, answer } = slow();
  const call = callPatiently(caller, "m", procedures.connectGetUri, {});
  t.mock.timers.tick(fileTimeoutMs);
  const error = await call.then(
    () => assert.fail("it hangs"),
    (cause: unknown) => cause,
  );
  assert.ok(error instanceof FileHangsError);
  assert.equal(error.sent, true);
  assert.throws(() => checkNoneHangs(caller, "m"), error);
  checkNoneHangs(caller, "another");
  checkNoneHangs(slow().caller, "m");
  answer.reject(new Error("the connection has ended"));
  await error.answered;
  checkNoneHangs(caller, "m");
});
