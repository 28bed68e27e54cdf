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
