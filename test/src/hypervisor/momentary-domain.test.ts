import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CallTimeoutError, ErrorCode, LibvirtError, type ErrorCodeName, type Procedure } from "libvirt";
import type { Caller } from "../../../src/hypervisor/caller.ts";
import {
  MomentaryDomainError,
  removeLeftover,
  withMomentaryDomain,
} from "../../../src/hypervisor/momentary-domain.ts";
import { metadataOf } from "../../../src/hypervisor/metadata.ts";
import { at, textOf } from "../../../src/hypervisor/xml/element.ts";
import { parseXml } from "../../../src/hypervisor/xml/parse.ts";

const refusal = (code: Exclude<ErrorCodeName, "UNKNOWN">) =>
  new LibvirtError("CALL", ErrorCode[code], 10, code);

/** A libvirt that keeps account of the calls, and answers some with an error, each once. */
class Libvirt implements Caller {
  readonly calls: { name: string; args: Record<string, unknown> }[] = [];
  readonly #errors: Map<string, Error>;

  constructor(errors: Record<string, Error> = {}) {
    this.#errors = new Map(Object.entries(errors));
  }

  get names(): string[] {
    return this.calls.map(({ name }) => name);
  }

  async call<A, R>(procedure: Procedure<A, R>, args: A): Promise<R> {
    this.calls.push({ name: procedure.name, args: args as Record<string, unknown> });
    const error = this.#errors.get(procedure.name);
    this.#errors.delete(procedure.name);
    if (error !== undefined) throw error;
    const root = parseXml(
      typeof this.calls[0]?.args["xml"] === "string" ? this.calls[0].args["xml"] : "<domain/>",
    );
    const dom = { name: textOf(at(root, "name")), uuid: textOf(at(root, "uuid")), id: undefined };
    return { dom } as R;
  }
}

const [define, undefine] = ["DOMAIN_DEFINE_XML_FLAGS", "DOMAIN_UNDEFINE_FLAGS"];
const xml = parseXml(`<domain><name>web</name><uuid>6695eb01-f6a4-8304-79aa-97f2502e193f</uuid>
  <metadata><w:request xmlns:w='https://warmboot.dev/request'/><o:own xmlns:o='urn:own'/></metadata>
  <sysinfo type='smbios'><system><entry name='uuid'>6695eb01-f6a4-8304-79aa-97f2502e193f</entry></system></sysinfo></domain>`);

describe("a momentary domain", () => {
  test("is nobody else's, has no mark of a restart, and is removed", async () => {
    const libvirt = new Libvirt();
    const name = await withMomentaryDomain(libvirt, xml, async (dom) => dom.name);
    assert.match(name, /^warmboot-check-[0-9a-f]{16}$/);
    const defined = parseXml(String(libvirt.calls[0]?.args["xml"]));
    const uuid = textOf(at(defined, "uuid"));
    assert.notEqual(uuid, textOf(at(xml, "uuid")));
    assert.equal(textOf(at(defined, "sysinfo", "system", "entry")), uuid);
    assert.deepEqual(
      metadataOf(defined).map(({ uri }) => uri),
      ["urn:own", "https://warmboot.dev/check"],
    );
    assert.deepEqual(libvirt.names, [define, undefine]);
  });

  test("is removed also when its use fails, and that is what is told", async () => {
    const libvirt = new Libvirt({ [undefine]: refusal("INTERNAL_ERROR") });
    const use = () => Promise.reject(new Error("the use"));
    await assert.rejects(withMomentaryDomain(libvirt, xml, use), /the use/);
    assert.deepEqual(libvirt.names, [define, undefine]);
  });

  test("that somebody has removed says nothing of another domain", async () => {
    const libvirt = new Libvirt({ [undefine]: refusal("NO_DOMAIN") });
    const use = () => Promise.reject(refusal("NO_DOMAIN"));
    await assert.rejects(withMomentaryDomain(libvirt, xml, use), MomentaryDomainError);
  });

  test("is removed where a driver knows no NVRAM", async () => {
    const libvirt = new Libvirt({ [undefine]: refusal("INVALID_ARG") });
    await withMomentaryDomain(libvirt, xml, async () => {});
    assert.deepEqual(
      libvirt.calls.slice(1).map(({ args }) => args["flags"]),
      [8, 0],
    );
  });

  test("is removed where libvirt did not say in time whether it was defined", async () => {
    const libvirt = new Libvirt({ [define]: new CallTimeoutError(define, 1, Promise.resolve("Answered")) });
    await assert.rejects(
      withMomentaryDomain(libvirt, xml, async () => {}),
      CallTimeoutError,
    );
    assert.deepEqual(libvirt.names, [define, undefine]);
  });
});

describe("a domain that a process may have left behind", () => {
  const uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f";
  for (const [sentence, dom, errors, isRemoved] of [
    ["by its name and its metadata: is removed", { name: "warmboot-check-1", id: undefined }, {}, true],
    [
      "by its name alone: stays",
      { name: "warmboot-check-1", id: undefined },
      { DOMAIN_GET_METADATA: refusal("NO_DOMAIN_METADATA") },
      false,
    ],
    [
      "by its name, and gone meanwhile: is no error",
      { name: "warmboot-check-1", id: undefined },
      { DOMAIN_GET_METADATA: refusal("NO_DOMAIN") },
      false,
    ],
    ["by its name, but runs: stays", { name: "warmboot-check-1", id: 1 }, {}, false],
    ["under another name: stays", { name: "web", id: undefined }, {}, false],
  ] as const) {
    test(sentence, async () => {
      const libvirt = new Libvirt(errors);
      await removeLeftover(libvirt, { ...dom, uuid });
      assert.equal(libvirt.names.includes(undefine), isRemoved);
    });
  }
});
