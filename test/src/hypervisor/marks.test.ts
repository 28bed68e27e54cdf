import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import type { RequestMark } from "../../../controller/ports.ts";
import { restartMethods, restartMode, restartResults } from "../../../crds/restart.ts";
import { formatTimestamp } from "../../../crds/timestamp.ts";
import { bootMark, marksOfBoot, parseRequestMark, requestMark } from "../../../src/hypervisor/marks.ts";
import { parseXml } from "../../../src/hypervisor/xml/parse.ts";

const hex = fc.string({
  unit: fc.integer({ min: 0, max: 15 }).map((digit) => digit.toString(16)),
  minLength: 32,
  maxLength: 32,
});
/** What a restart token may be: anything that can be printed. */
const token = fc
  .string({ unit: "binary", minLength: 1, maxLength: 256 })
  .filter((text) => !/\p{C}/u.test(text));
const epochMs = fc.integer({ min: 0, max: Date.UTC(2100, 0) });

const plain = { noNullPrototype: true };
const mark: fc.Arbitrary<RequestMark> = fc.record(
  {
    attempt: hex,
    cluster: fc.uuid(),
    resource: fc.uuid(),
    wasOff: fc.boolean(),
    inPlace: fc.boolean(),
    bootId: fc.uuid(),
    definition: fc.constantFrom("Applied", "RolledBack"),
    owner: fc.stringMatching(/^[a-z0-9-]+\/[a-z0-9][a-z0-9.-]*$/),
    request: fc.record(
      {
        restartGeneration: fc.maxSafeNat(),
        restartToken: token,
        joinedTokens: fc.array(token, { maxLength: 10 }),
        mode: fc.constantFrom(...restartMode.options),
        requestedAt: epochMs.map(formatTimestamp),
      },
      { requiredKeys: ["requestedAt"], ...plain },
    ),
    servedBefore: fc.record(
      {
        observedRestartGeneration: fc.option(fc.maxSafeNat(), { nil: undefined }),
        observedRestartToken: fc.option(token, { nil: undefined }),
      },
      plain,
    ),
    startedAtMs: epochMs,
    result: fc.constantFrom(...restartResults),
    method: fc.constantFrom(...restartMethods),
  },
  {
    requiredKeys: [
      "attempt",
      "cluster",
      "resource",
      "wasOff",
      "inPlace",
      "owner",
      "request",
      "servedBefore",
      "startedAtMs",
    ],
    ...plain,
  },
);

/** What is absent and what is undefined are the same in a mark. */
const asJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

test("a request mark comes back as it was written, whatever the token says", () => {
  fc.assert(
    fc.property(mark, (written) => {
      assert.deepEqual(asJson(parseRequestMark(requestMark(written).xml)), asJson(written));
    }),
  );
});

test("the XML of a running boot tells its marks, whatever prefixes libvirt has given them", () => {
  fc.assert(
    fc.property(mark, fc.constantFrom("warmboot", "ns0"), fc.boolean(), (written, prefix, isMarked) => {
      const request = requestMark(written);
      const boot = bootMark(isMarked ? written.attempt : "f".repeat(32));
      const metadata = [
        `<x:other xmlns:x="https://example.org/${written.attempt}"/>`,
        request.xml.replace("<request ", `<${prefix}:request xmlns:${prefix}="${request.uri}" `),
        `<b:boot xmlns:b="${boot.uri}"/>`,
      ].join("\n");
      const domain = parseXml(`<domain id="1"><name>vm</name><metadata>${metadata}</metadata></domain>`);
      const { bootMark: isFound, live } = marksOfBoot(domain, written.attempt);
      assert.equal(isFound, isMarked || written.attempt === "f".repeat(32));
      assert.deepEqual(asJson(live), asJson(written));
      assert.equal(marksOfBoot(domain, undefined).bootMark, false);
    }),
  );
  const bare = parseXml("<domain><name>vm</name></domain>");
  assert.deepEqual(marksOfBoot(bare, "0".repeat(32)), { bootMark: false, live: undefined });
});

test("a request mark is one XML element that says nothing but attributes", () => {
  fc.assert(
    fc.property(mark, (written) => {
      assert.match(requestMark(written).xml, /^<request( [a-zA-Z]+="[^"<>]*")+\/>$/);
    }),
  );
});

test("bytes that are no mark of ours are no mark, and never an exception", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (xml) => assert.equal(parseRequestMark(xml), undefined)),
  );
});

test("a mark that somebody has cut or changed is read as another mark or as none, and never an exception", () => {
  fc.assert(
    fc.property(mark, fc.nat(), fc.string(), (written, at, garbage) => {
      const { xml } = requestMark(written);
      const cut = at % xml.length;
      parseRequestMark(xml.slice(0, cut) + garbage + xml.slice(cut));
      assert.equal(parseRequestMark(xml.slice(0, cut)), undefined);
    }),
  );
});

const foreign: [sentence: string, xml: string][] = [
  [
    "a document type with entities that multiply",
    `<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><request attempt="&b;"/>`,
  ],
  ["megabytes", `<request attempt="${"a".repeat(5_000_000)}"/>`],
  [
    "a million attributes",
    `<request ${Array.from({ length: 1_000_000 }, (_, n) => `a${n}="1"`).join(" ")}/>`,
  ],
  ["depth without end", "<request>".repeat(100_000)],
  [
    "an attempt that is no nonce of ours",
    `<request attempt="../x" resource="u" requestedAt="" startedAt="2026-01-01T00:00:00Z"/>`,
  ],
];
for (const [sentence, xml] of foreign) {
  test(`${sentence}: no mark, at once`, () => {
    assert.equal(parseRequestMark(xml), undefined);
  });
}

/** A mark as this program writes it. */
const written = requestMark({
  attempt: "0".repeat(32),
  cluster: "c",
  resource: "u",
  owner: "default/web-1",
  request: { restartToken: "a", requestedAt: "2026-01-01T00:00:00.000Z" },
  servedBefore: {},
  startedAtMs: 0,
}).xml;

for (const [sentence, part, other] of [
  // It would be nobody's, and a path that leads elsewhere in the API.
  ["an owner without a name", 'owner="default/web-1"', 'owner="web-1"'],
  ["an owner without a namespace", 'owner="default/web-1"', 'owner="/web-1"'],
  ["an owner whose name leads elsewhere", 'owner="default/web-1"', 'owner="default/.."'],
  ["an owner with more than a name", 'owner="default/web-1"', 'owner="default/web-1/status"'],
  // The API server would refuse every status with such a time in it, and users would hear nothing any more.
  ["a time that is none", 'requestedAt="2026-01-01T00:00:00.000Z"', 'requestedAt="yesterday"'],
  ["a time of no year", 'startedAt="1970-01-01T00:00:00.000Z"', 'startedAt="9999-12-31T23:59:59-01:00"'],
] as const) {
  test(`a mark with ${sentence} is somebody else's`, () => {
    assert.ok(parseRequestMark(written) !== undefined && written.includes(part));
    assert.equal(parseRequestMark(written.replace(part, other)), undefined);
  });
}

test("a time in somebody's own way of writing it is read as the API server takes it", () => {
  const theirs = written.replace("2026-01-01T00:00:00.000Z", "2026-01-01t01:00:00,5+01:00");
  assert.equal(parseRequestMark(theirs)?.request.requestedAt, "2026-01-01T00:00:00.500Z");
});

test("a mark is read again, however long the tokens are that somebody wrote into the status", () => {
  const token = "<".repeat(500_000);
  const mark = parseRequestMark(written);
  assert.ok(mark !== undefined);
  const { xml } = requestMark({
    ...mark,
    request: { ...mark.request, restartToken: token, joinedTokens: Array.from({ length: 10 }, () => token) },
    servedBefore: { observedRestartToken: token },
  });
  assert.equal(parseRequestMark(xml)?.attempt, mark.attempt);
});

test("every attempt's boot mark has a namespace of its own: nobody takes another's mark for his", () => {
  fc.assert(
    fc.property(hex, hex, (one, other) => {
      assert.equal(bootMark(one).uri === bootMark(other).uri, one === other);
    }),
  );
});

test("the token that people try first, true, is an attribute with a value", () => {
  const request = { restartToken: "true", requestedAt: "2026-01-01T00:00:00.000Z" };
  const mark = {
    attempt: "0".repeat(32),
    cluster: "c",
    resource: "u",
    owner: "a/b",
    request,
    servedBefore: {},
    startedAtMs: 0,
  };
  assert.match(requestMark(mark).xml, / restartToken="true"/);
});
