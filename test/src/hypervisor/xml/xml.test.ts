import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import {
  at,
  attribute,
  childElements,
  element,
  textOf,
  type XmlElement,
} from "../../../../src/hypervisor/xml/element.ts";
import { formatXml } from "../../../../src/hypervisor/xml/format.ts";
import { parseXml, xmlBounds, XmlError } from "../../../../src/hypervisor/xml/parse.ts";

const name = fc.stringMatching(/^[a-z][a-z0-9:_-]{0,8}$/).filter((one) => !one.endsWith(":"));
/** Any text that XML can hold. */
const text = fc
  .string({ unit: "binary", maxLength: 20 })
  .filter((one) => !/[^\t\n\r -\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u.test(one));
const { tree } = fc.letrec<{ tree: XmlElement }>((tie) => ({
  tree: fc.record(
    {
      name,
      attributes: fc.dictionary(name, text, { maxKeys: 3, noNullPrototype: true }),
      children: fc
        .array(
          fc.oneof(
            { depthSize: "small" },
            text.filter((one) => one !== ""),
            tie("tree"),
          ),
          { maxLength: 4 },
        )
        // Two texts side by side are one.
        .map((nodes) =>
          nodes.filter((node, index) => typeof node !== "string" || typeof nodes[index - 1] !== "string"),
        ),
    },
    { noNullPrototype: true },
  ),
}));

describe("an XML document", () => {
  test("that is written and read again says the same, whatever it contains", () => {
    fc.assert(
      fc.property(tree, (root) => {
        assert.deepEqual(parseXml(formatXml(root)), root);
      }),
    );
  });

  test("is read with its prefixes, its character references and its marked text, and without its comments", () => {
    const root = parseXml(
      "<?xml version='1.0'?><!-- a --><a x:y='&lt;&#10;'><b><!-- c -->1<![CDATA[<&]]></b> t<b/></a>",
    );
    assert.equal(attribute(root, "x:y"), "<\n");
    assert.equal(attribute(root, "toString"), undefined);
    assert.equal(textOf(at(root, "b")), "1<&");
    assert.equal(textOf(root), "t");
    assert.equal(childElements(root, "b").length, 2);
    assert.equal(at(root, "b", "c"), undefined);
  });

  test("that is made has no attribute for what is undefined", () => {
    assert.equal(formatXml(element("a", { b: undefined, c: 1 }, [element("d")])), '<a c="1"><d/></a>');
  });
});

describe("a text that is no XML to be read", () => {
  const nested = (levels: number) => "<a>".repeat(levels) + "</a>".repeat(levels);
  const attributes = (count: number) => Array.from({ length: count }, (_, index) => ` a${index}=''`).join("");
  /** Entities of which each is the one before it twice. */
  const doublings = (levels: number) =>
    Array.from({ length: levels }, (_, n) => `<!ENTITY b${n + 1} "&b${n};&b${n};">`).join("");
  for (const [sentence, xml, message] of [
    ["nothing", "", /not well-formed|no element/],
    ["an element that does not end", "<a>", /not well-formed/],
    ["two roots", "<a/><b/>", /not well-formed/],
    ["an attribute twice", "<a b='' b=''/>", /not well-formed/],
    ["an unknown entity", "<a>&b;</a>", /not well-formed/],
    ["a control character", "<a>\u0001</a>", /not well-formed/],
    ["a document type", "<!DOCTYPE a><a/>", /document type/],
    [
      "a bomb of entities",
      `<!DOCTYPE a [<!ENTITY b0 "bb">${doublings(60)}]><a>&b60;</a>`,
      /document type|not well-formed/,
    ],
    [
      "an entity from a file",
      '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
      /document type|not well-formed/,
    ],
    ["too many characters", `<a>${" ".repeat(xmlBounds.length)}</a>`, /characters; at most/],
    ["too many elements", `<a>${"<b/>".repeat(xmlBounds.elements)}</a>`, /elements; at most/],
    ["too many levels", nested(xmlBounds.depth + 1), /levels/],
    ["levels without end", nested(60_000), /levels/],
    ["a million attributes", `<a${attributes(1_000_000)}/>`, /characters; at most/],
    ["too many attributes", `<a${attributes(xmlBounds.attributes + 1)}/>`, /attributes on <a>; at most/],
  ] as const) {
    test(`${sentence}: is refused with the reason`, () => {
      assert.throws(
        () => parseXml(xml),
        (error) => error instanceof XmlError && message.test(error.message),
      );
    });
  }

  test("and what is just within the bounds is read", () => {
    parseXml(nested(xmlBounds.depth));
    parseXml(`<a${attributes(xmlBounds.attributes)}/>`);
    parseXml(`<a>${"<b/>".repeat(xmlBounds.elements - 1)}</a>`);
  });
});

test("any text can be written; what XML cannot hold becomes U+FFFD", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (any) => {
      const { attributes, children } = parseXml(formatXml(element("a", { any }, any === "" ? [] : [any])));
      const expected = any.replaceAll(/[^\t\n\r -\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, "\uFFFD");
      assert.deepEqual([attributes["any"], children[0] ?? ""], [expected, expected]);
    }),
  );
  assert.equal(
    formatXml(element("a", { b: "\0\u001B\uD800\uFFFE\t🚀" })),
    '<a b="\uFFFD\uFFFD\uFFFD\uFFFD&#9;🚀"/>',
  );
});
