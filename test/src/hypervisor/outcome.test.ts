import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CallHeldError, CallTimeoutError, ConnectionError, LibvirtError } from "libvirt";
import { AgentSilentError } from "../../../src/hypervisor/agent.ts";
import { DefinitionError } from "../../../src/hypervisor/definition/definition-error.ts";
import { DomainHungError } from "../../../src/hypervisor/domain-turns.ts";
import { DomainXmlError } from "../../../src/hypervisor/domain-xml.ts";
import { MomentaryDomainError } from "../../../src/hypervisor/momentary-domain.ts";
import { absenceOf, outcomeOf } from "../../../src/hypervisor/outcome.ts";

const libvirtError = (number: number) =>
  new LibvirtError("DOMAIN_DESTROY_FLAGS", number, 10, "libvirt says no");
const noDomain = libvirtError(42);
const denied = libvirtError(88);
const operationDenied = libvirtError(29);
const busy = libvirtError(68);
const failed = libvirtError(1);
const invalid = libvirtError(55);
const late = new CallTimeoutError("DOMAIN_CREATE", 1000, Promise.resolve("Answered"));
const hanging = { procedure: "DOMAIN_SHUTDOWN_FLAGS", sinceMs: 0 };
const queued = new CallTimeoutError("DOMAIN_CREATE", 1000, undefined);
const broken = new ConnectionError("Closed", "the connection was closed", { sent: true });
const unopened = new ConnectionError("OpenTimeout", "the daemon did not answer within 10000 ms");
const uri = "qemu:///system";
const unsent = new ConnectionError("Closed", "the connection was closed");

describe("the outcome of an effect", () => {
  test("whose calls all succeed is Done", async () => {
    assert.deepEqual(await outcomeOf(() => Promise.resolve()), { kind: "Done" });
  });

  for (const [what, error, kind, cause] of [
    ["libvirt refuses", invalid, "Refused", undefined],
    ["libvirt denies by its access control", denied, "Refused", "Denied"],
    ["libvirt denies on a connection that may only read", operationDenied, "Refused", "Denied"],
    ["goes wrong in the middle", failed, "Refused", "Failed"],
    ["meets a domain that something else holds", busy, "Refused", "Busy"],
    ["the guest agent does not answer", new AgentSilentError(), "Refused", undefined],
    ["has a definition that cannot be used", new DefinitionError("no"), "Refused", undefined],
    ["loses the domain that it defined for a moment", new MomentaryDomainError("no"), "Refused", undefined],
    ["is not answered in time", late, "Unanswered", undefined],
    ["is not sent in time", queued, "NotSent", undefined],
    ["is not sent, as too much is unanswered", new CallHeldError(8), "NotSent", undefined],
    [
      "is what hangs",
      new DomainHungError(hanging, { sent: true, isDaemonSilent: false }),
      "Unanswered",
      undefined,
    ],
    ["loses its connection", broken, "Unanswered", undefined],
    ["finds no connection", unsent, "NotSent", undefined],
  ] as const)
    test(`that ${what} is ${kind}${cause === undefined ? "" : `, ${cause}`}`, async () => {
      const outcome = await outcomeOf(() => Promise.reject(error));
      const expected = { kind, message: error.message };
      assert.deepEqual(outcome, kind === "Refused" && "code" in error ? { ...expected, cause } : expected);
    });

  test("that meets a domain on which another call hangs is Refused, Busy", async () => {
    const error = new DomainHungError(hanging, { sent: false, isDaemonSilent: false });
    const { message } = error;
    assert.match(
      message,
      /has not answered DOMAIN_SHUTDOWN_FLAGS about this domain since 1970-01-01T00:00:00Z/,
    );
    const refused = { kind: "Refused", message, cause: "Busy" };
    assert.deepEqual(await outcomeOf(() => Promise.reject(error)), refused);
  });

  test("is no outcome where the program itself is wrong: that is thrown", async () => {
    await assert.rejects(
      outcomeOf(() => Promise.reject(new TypeError("a mistake"))),
      TypeError,
    );
  });
});

describe("a look that fails", () => {
  test("for want of the domain says that it is missing", () => {
    assert.deepEqual(absenceOf(noDomain, { uri }), { kind: "Missing" });
  });

  const unread = new ConnectionError("Protocol", "the reply cannot be read", { sent: true });
  for (const [what, error, reason] of [
    ["libvirt cannot tell", invalid, "DomainUnreadable"],
    ["the domain's XML is none", new DomainXmlError("it is none"), "DomainUnreadable"],
    ["a reply cannot be decoded", unread, "DomainUnreadable"],
    [
      "a domain that was defined for a moment is gone",
      new MomentaryDomainError("it is gone"),
      "DomainUnreadable",
    ],
    ["too much is unanswered", new CallHeldError(8), "HypervisorUnreachable"],
    ["something else holds the domain", busy, "DomainUnresponsive"],
    // A session tells when its main connection is back, and of the others that are opened on demand it tells nothing.
    ["the connection is gone", broken, "HypervisorUnreachable"],
    ["a connection could not be opened", unsent, "HypervisorUnreachable"],
    ["earlier calls take all places", queued, "HypervisorUnreachable"],
  ] as const)
    test(`because ${what} is ${reason}, in its own words, and is to be asked again`, () => {
      const absence = absenceOf(error, { uri, name: "web" });
      assert.ok(absence.kind === "Unreachable");
      assert.equal(absence.reason, reason);
      assert.ok(absence.message.includes(error.message));
      assert.equal(absence.message.includes("the domain web"), reason !== "HypervisorUnreachable");
      assert.ok(absence.retryInMs !== undefined);
    });

  test("because a call about it is not answered is DomainUnresponsive, and says nothing of what may still be carried out", () => {
    const absence = absenceOf(late, { uri, name: "web" });
    assert.ok(absence.kind === "Unreachable" && absence.reason === "DomainUnresponsive");
    assert.match(absence.message, /not about the domain web: .*did not answer DOMAIN_CREATE within 1 s/);
  });

  test("because the domain hangs is DomainUnresponsive, and its answer says when to ask again", () => {
    const error = new DomainHungError(hanging, { sent: true, isDaemonSilent: false });
    const absence = absenceOf(error, { uri, name: "web" });
    assert.ok(absence.kind === "Unreachable" && absence.reason === "DomainUnresponsive");
    assert.ok(
      absence.message.includes("not about the domain web") && absence.message.includes(error.message),
    );
    assert.equal(absence.retryInMs, undefined);
  });

  for (const [what, error] of [
    ["does not answer a call", new DomainHungError(hanging, { sent: true, isDaemonSilent: true })],
    ["has fallen silent", new ConnectionError("KeepaliveTimeout", "silent", { sent: true })],
    ["does not answer a new connection", new ConnectionError("NotConnected", "no", { cause: unopened })],
  ] as const)
    test(`because the daemon ${what} is HypervisorUnreachable, in the same words, and soon asked again`, () => {
      assert.deepEqual(absenceOf(error, { uri, name: "web" }), {
        kind: "Unreachable",
        reason: "HypervisorUnreachable",
        message: "libvirt at qemu:///system does not answer: is it stuck?",
        retryInMs: 1000,
      });
    });

  test("by a mistake of the program is thrown", () => {
    assert.throws(() => absenceOf(new TypeError("a mistake"), { uri }), TypeError);
  });
});
