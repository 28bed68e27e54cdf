import { z } from "zod";

/** A time as Kubernetes writes it: RFC 3339, here in UTC with milliseconds. */
export const timestamp = z.string().meta({ format: "date-time" });

/** Milliseconds since 1970 as a timestamp for a resource. */
export function formatTimestamp(epochMs: number): string {
  return new Date(epochMs).toISOString();
}

const rfc3339 = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}([.,]\d+)?([Zz]|[+-]\d{2}:\d{2})$/;

/** Years have four digits; an offset can lead out of them. */
const earliestMs = Date.parse("0000-01-01T00:00:00Z");
const latestMs = Date.parse("9999-12-31T23:59:59.999Z");

/** Milliseconds since 1970 of an RFC 3339 time, also with the comma of `date -Ins`; undefined for any other text. */
export function parseTimestamp(text: string): number | undefined {
  if (!rfc3339.test(text)) return undefined;
  const epochMs = Date.parse(text.replace(",", "."));
  return epochMs >= earliestMs && epochMs <= latestMs ? epochMs : undefined;
}
