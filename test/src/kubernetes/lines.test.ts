import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { LineSplitter, LineTooLongError } from "../../../src/kubernetes/lines.ts";

const TEXT = '{"note":"größer"}\n\n{"note":"日本語 🚀"}\n{"note":"unfinished"}\n';
const LINES = ['{"note":"größer"}', '{"note":"日本語 🚀"}', '{"note":"unfinished"}'];

test("A text that is cut in two at any byte gives the same lines", () => {
  const bytes = Buffer.from(TEXT);
  for (let cut = 0; cut <= bytes.length; cut += 1) {
    const splitter = new LineSplitter(1000);
    const lines = [...splitter.push(bytes.subarray(0, cut)), ...splitter.push(bytes.subarray(cut))];
    assert.deepEqual(lines, LINES, `cut at ${cut}`);
    assert.equal(splitter.unfinished, false);
  }
});

test("However a text is cut, its lines come out once it is complete and not before", () => {
  const cuts = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 });
  const property = fc.property(fc.array(fc.string({ unit: "grapheme" })), cuts, (texts, sizes) => {
    const expected = texts.map((text) => text.replaceAll("\n", "")).filter((text) => text !== "");
    const bytes = Buffer.from(expected.map((text) => `${text}\n`).join(""));
    const splitter = new LineSplitter(10_000);
    const lines: string[] = [];
    for (let start = 0, turn = 0; start < bytes.length; turn += 1) {
      const end = start + (sizes[turn % sizes.length] ?? 1);
      lines.push(...splitter.push(bytes.subarray(start, end)));
      start = end;
    }
    assert.deepEqual(lines, expected);
  });
  fc.assert(property);
});

test("A line that is too long is refused as soon as that shows, in one chunk or in many", () => {
  assert.throws(() => new LineSplitter(10).push(Buffer.from("12345678901\n")), LineTooLongError);
  const splitter = new LineSplitter(10);
  assert.deepEqual(splitter.push(Buffer.from("1234567890\n12345")), ["1234567890"]);
  assert.throws(() => splitter.push(Buffer.from("678901")), LineTooLongError);
});

test("A last line without an end is not given out, and shows as unfinished", () => {
  const splitter = new LineSplitter(100);
  assert.deepEqual(splitter.push(Buffer.from("one\ntw")), ["one"]);
  assert.equal(splitter.unfinished, true);
});
