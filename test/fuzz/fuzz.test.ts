import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { inspect } from "node:util";
import { procedures } from "libvirt";
import { encodeFrame, MessageType } from "../../src/libvirt/protocol/frame.ts";
import { decodeWhole } from "../../src/libvirt/xdr/decode.ts";
import { Fuzzer } from "./fuzzer.ts";
import { codecOf } from "./protocol.ts";
import { frameOf, readTraffic } from "./traffic.ts";

const count = 40_000;

describe("what a real libvirtd was recorded to say", () => {
  const { messages, agentAnswers, domainXmls, marks } = readTraffic();

  test("is several hundred messages, with a reply to every procedure and the texts that others write", () => {
    assert.ok(messages.length > 400, `${messages.length} messages`);
    const replies = messages.map(frameOf).filter(({ type }) => type === MessageType.Reply);
    const answered = new Set(replies.map(({ procedure }) => procedure));
    const unanswered = Object.values(procedures).filter(({ number }) => !answered.has(number));
    // libvirtd 9.0.0 dies of it where it does not have the driver.
    assert.deepEqual(
      unanswered.map(({ name }) => name),
      ["INTERFACE_IS_ACTIVE"],
    );
    assert.ok(agentAnswers.length >= 3 && domainXmls.length >= 4 && marks.length >= 2);
  });

  test("is read, and written again as it was", () => {
    for (const message of messages) {
      const { payload, ...header } = frameOf(message);
      const codec = codecOf(header);
      const again = encodeFrame(header, (to) => codec?.encode(to, decodeWhole(codec, payload)));
      assert.ok(again.equals(message), JSON.stringify(header));
    }
  });
});

test(`${count} damaged messages and texts are read or refused, each by an error of its own`, async () => {
  await using fuzzer = await Fuzzer.start();
  const outcomes = new Set<string>();
  const { stackTraceLimit } = Error;
  // Where a refusal comes from takes longer to find out than all else.
  Error.stackTraceLimit = 0;
  try {
    for (let seed = 1; seed <= count; seed += 1) {
      try {
        outcomes.add(await fuzzer.run(seed));
      } catch (error) {
        assert.fail(`again: npm run fuzz -- --count 1 --seed ${seed}\n${inspect(error)}`);
      }
    }
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
  // A damage that never gets beyond the first check finds nothing.
  assert.ok(outcomes.size >= 20, [...outcomes].join("\n"));
});
