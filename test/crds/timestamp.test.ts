import assert from "node:assert/strict";
import { test } from "node:test";
import { formatTimestamp, parseTimestamp } from "../../crds/timestamp.ts";

const noon = Date.UTC(2026, 10, 22, 12);

for (const [sentence, text] of [
  ["UTC", "2026-11-22T12:00:00Z"],
  ["an offset", "2026-11-22T13:30:00+01:30"],
  ["the comma and the nanoseconds of `date -Ins`", "2026-11-22T12:00:00,000000001+00:00"],
  ["what this project writes itself", formatTimestamp(noon)],
] as const) {
  test(`a time with ${sentence} is read`, () => assert.equal(parseTimestamp(text), noon));
}

for (const text of ["yes", "2026-11-22", "2026-13-22T12:00:00Z", "12:00:00", "1"]) {
  test(`"${text}" is no time`, () => assert.equal(parseTimestamp(text), undefined));
}

test("a time that an offset takes out of the years of four digits is none: no timestamp could tell it", () => {
  assert.equal(parseTimestamp("9999-12-31T23:59:59-01:00"), undefined);
  assert.equal(parseTimestamp("0000-01-01T00:00:00+01:00"), undefined);
  assert.equal(parseTimestamp("9999-12-31T23:59:59Z"), Date.UTC(9999, 11, 31, 23, 59, 59));
});
