/** docs/reference.md names every rule, reason, evidence and Event that the controller has, and none that it has not. */
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { describe, test } from "node:test";
import { afterEffect, beginAttempt, type Attempt } from "../../controller/attempt.ts";
import { attemptRules } from "../../controller/attempt-rules.ts";
import { findingReasons } from "../../controller/finding.ts";
import { unreachableReasons, type Effect, type RequestMark } from "../../controller/ports.ts";
import { resourceRules } from "../../controller/resource-rules.ts";
import { restartEvidence } from "../../crds/restart.ts";
import { restartPolicy } from "../../crds/restart-policy.ts";

const reference = await readFile(new URL("../../docs/reference.md", import.meta.url), "utf8");
const controller = new URL("../../controller/", import.meta.url);
const sources = await Promise.all(
  (await readdir(controller)).map((file) => readFile(new URL(file, controller), "utf8")),
);
const source = sources.join("\n");

/** What stands first in the rows of the tables under a heading. */
function named(heading: string): string[] {
  const section = reference.split(/^## /m).find((one) => one.startsWith(`${heading}\n`));
  assert.ok(section !== undefined, `there is no section "${heading}"`);
  return [...section.matchAll(/^\| `(\w+)` +\|/gm)].map(([, name]) => String(name));
}

function matches(...patterns: RegExp[]): string[] {
  return patterns.flatMap((pattern) => [...source.matchAll(pattern)].map((match) => String(match[1])));
}

/** The Events that there are. */
const noticeReasons = [
  ...(/const noticeReasons = \[(.*?)\]/s.exec(source)?.[1] ?? "").matchAll(/"(\w+)"/g),
].map(([, name]) => String(name));

function sorted(words: Iterable<string>): string[] {
  return [...new Set(words)].sort();
}

const begun = beginAttempt(
  "a".repeat(32),
  { requestedAt: "2026-01-01T00:00:00.000Z" },
  restartPolicy.parse({ mode: "Soft" }),
  { epochMs: 0, monotonicMs: 0 },
);

/** What an attempt fails with when libvirt refuses an effect again and again; undefined where it goes on. */
function reasonOfRefusals(effect: Effect): string | undefined {
  const now = { epochMs: 0, monotonicMs: 0 };
  let attempt: Attempt = { ...begun, marked: effect.kind !== "Mark" };
  for (let times = 0; times < 10; times += 1)
    attempt = afterEffect(attempt, effect, { kind: "Refused", message: "no" }, now, now);
  return attempt.failure?.reason;
}

const mark: RequestMark = {
  attempt: begun.id,
  cluster: "cluster",
  resource: "uid",
  owner: "default/vm",
  request: begun.request,
  servedBefore: {},
  startedAtMs: 0,
};
const allEffects = {
  Mark: { kind: "Mark", mark, running: true },
  Shutdown: { kind: "Shutdown", signal: "ACPI" },
  Reboot: { kind: "Reboot", signal: "ACPI" },
  Destroy: { kind: "Destroy" },
  Reset: { kind: "Reset" },
  Wake: { kind: "Wake" },
  Resume: { kind: "Resume" },
  Start: { kind: "Start" },
  Release: { kind: "Release", attempt: begun.id },
  Settle: { kind: "Settle", mark },
  Repair: { kind: "Repair", repair: { kind: "StartPool", pool: "images" } },
  Define: { kind: "Define", replaces: true },
  RollBack: { kind: "RollBack", mark },
  AttachDisk: { kind: "AttachDisk", disk: "vdb" },
} satisfies { [kind in Effect["kind"]]: Effect & { kind: kind } };

describe("docs/reference.md names", () => {
  test("every rule about a resource, in order", () => {
    const rules = resourceRules.map(({ name }) => name);
    assert.deepEqual(named("What counts as a request"), [...rules, ...matches(/\brule: "(\w+)"/g)]);
  });

  test("every rule about a restart", () => {
    const rules = [false, true].flatMap((marked) =>
      attemptRules({ ...begun, marked }).map(({ name }) => name),
    );
    const here = sorted(named("What a restart does"));
    const elsewhere = new Set(resourceRules.map(({ name }) => name));
    assert.deepEqual(here, sorted(rules.filter((rule) => !elsewhere.has(rule))));
    assert.deepEqual(
      rules.filter((rule) => !reference.includes(`\`${rule}\``)),
      [],
    );
  });

  test("every reason, and none that the controller does not give", () => {
    const events = named("Events");
    const conditions = named("Reasons while a restart waits or runs");
    const results = named("Reasons of a result");
    const given = [
      ...unreachableReasons,
      ...noticeReasons,
      ...matches(
        /\breason(?:: | = )"([A-Z]\w+)"/g,
        /\b(?:forceOrFail|unverified|release)\(\s*attempt,\s*"([A-Z]\w+)"/g,
        /[?:] \[\s*"([A-Z]\w+)",\s*"/g,
      ),
      // A disk is plugged in without an attempt that could fail.
      ...Object.values(allEffects).flatMap((effect) =>
        effect.kind === "AttachDisk" ? [] : (reasonOfRefusals(effect) ?? []),
      ),
    ];
    assert.deepEqual(sorted([...events, ...conditions, ...results]), sorted(given));
  });

  test("everything that can keep a domain from starting", () => {
    assert.deepEqual(named("What a start needs"), [...findingReasons]);
  });

  test("every evidence", () => {
    assert.deepEqual(named("Evidence"), restartEvidence);
  });

  test("every Event", () => {
    assert.deepEqual(named("Events"), noticeReasons);
  });
});
