import assert from "node:assert/strict";
import { test } from "node:test";
import { isSameDomain } from "../../../../src/hypervisor/definition/same.ts";
import { parseXml } from "../../../../src/hypervisor/xml/parse.ts";

const same = (one: string, other: string) =>
  isSameDomain(parseXml(`<domain>${one}</domain>`), parseXml(`<domain>${other}</domain>`));
const mark = "<w:request xmlns:w='https://warmboot.dev/request' attempt='1'/>";

for (const [sentence, one, other, expected] of [
  ["white space between elements", "<a><b/></a>", "<a>\n  <b/>\n</a>", true],
  ["the order of attributes", "<a b='1' c='2'/>", "<a c='2' b='1'/>", true],
  ["marks of this program", "", `<metadata>${mark}</metadata>`, true],
  [
    "the order of metadata",
    "<metadata><a xmlns='u:a'/><b xmlns='u:b'/></metadata>",
    "<metadata><b xmlns='u:b'/><a xmlns='u:a'/></metadata>",
    true,
  ],
  [
    "where a prefix is declared",
    "<metadata xmlns:x='u:x'><x:a/></metadata>",
    "<metadata><x:a xmlns:x='u:x'/></metadata>",
    true,
  ],
  [
    "the order of controllers",
    "<devices><controller index='0'/><disk/><controller index='1'/></devices>",
    "<devices><controller index='1'/><controller index='0'/><disk/></devices>",
    true,
  ],
  [
    "the order of other devices",
    "<devices><interface type='a'/><interface type='b'/></devices>",
    "<devices><interface type='b'/><interface type='a'/></devices>",
    false,
  ],
  ["text", "<a>1</a>", "<a>2</a>", false],
  ["metadata of others", "<metadata><a xmlns='u:a'/></metadata>", "", false],
  ["an attribute", "<a b='1'/>", "<a/>", false],
  [
    "how often a controller is there",
    "<devices><controller/></devices>",
    "<devices><controller/><controller/></devices>",
    false,
  ],
] as const) {
  test(`two domains that differ in ${sentence} ${expected ? "say the same" : "do not say the same"}`, () => {
    assert.equal(same(one, other), expected);
    assert.equal(same(other, one), expected);
  });
}
