import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { isServed, joined, servedBy } from "../../controller/request.ts";
import {
  mostJoinedTokens,
  restartMode,
  type RestartRecord,
  type RestartRequest,
} from "../../crds/restart.ts";
import type { VirtualMachineStatus } from "../../crds/virtual-machine.ts";

const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const request: fc.Arbitrary<RestartRequest> = fc.record({
  restartGeneration: maybe(fc.nat(5)),
  restartToken: maybe(fc.constantFrom("a", "b", "c")),
  mode: maybe(fc.constantFrom(...restartMode.options)),
  requestedAt: fc.constantFrom("2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"),
});

/** The status once a request has ended. */
function after(ended: RestartRequest): VirtualMachineStatus {
  const record: RestartRecord = {
    request: ended,
    result: "Succeeded",
    evidence: ["DomainOff"],
    reason: "Restarted",
    message: "",
    startedAt: ended.requestedAt,
    endedAt: ended.requestedAt,
  };
  return { observedGeneration: 1, ...servedBy(ended), history: [record] };
}

describe("two requests as one", () => {
  test("are the first one itself where the second is joined once more, or adds nothing", () => {
    fc.assert(
      fc.property(request, request, (one, other) => {
        assert.equal(joined(one, one), one);
        const both = joined(one, other);
        assert.equal(joined(both, other), both);
      }),
    );
  });

  test("take back neither generation, token nor time of the first one", () => {
    fc.assert(
      fc.property(request, request, (one, other) => {
        const both = joined(one, other);
        assert.equal(
          both.restartGeneration ?? -1,
          Math.max(one.restartGeneration ?? -1, other.restartGeneration ?? -1),
        );
        assert.equal(both.restartToken, other.restartToken ?? one.restartToken);
        assert.equal(both.requestedAt, one.requestedAt);
      }),
    );
  });

  test("are both served once they have ended as one, however many joined", () => {
    fc.assert(
      fc.property(fc.array(request, { minLength: 1, maxLength: mostJoinedTokens }), (requests) => {
        const [first, ...rest] = requests;
        assert.ok(first !== undefined);
        const all = rest.reduce(joined, first);
        for (const each of requests) assert.ok(isServed(each, after(all)));
      }),
    );
  });

  test("remember no more tokens than can be kept", () => {
    const tokens = Array.from({ length: 50 }, (_, index) => ({
      restartToken: `token-${index}`,
      requestedAt: "2026-01-01T00:00:00.000Z",
    }));
    const all = tokens.reduce<RestartRequest>(joined, { requestedAt: "2026-01-01T00:00:00.000Z" });
    assert.equal(all.restartToken, "token-49");
    assert.equal(all.joinedTokens?.length, mostJoinedTokens);
    assert.equal(all.joinedTokens.at(-1), "token-48");
  });
});
