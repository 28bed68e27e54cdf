import { LibvirtError, procedures, XmlFlag, type Domain as LibvirtDomain, type ErrorCodeName } from "libvirt";
import type { Caller } from "../caller.ts";
import { withMomentaryDomain } from "../momentary-domain.ts";
import { withoutMarks } from "../metadata.ts";
import { at, element, textOf, type XmlElement, type XmlNode } from "../xml/element.ts";
import { formatXml } from "../xml/format.ts";
import { parseXml, XmlError } from "../xml/parse.ts";
import { DefinitionError } from "./definition-error.ts";

/** What libvirt makes of a domain's XML when it is defined: everything that was left open is decided. */
export interface NormalForm {
  readonly xml: XmlElement;
  /** Without its secrets, such as the password of a display. */
  readonly plain: XmlElement;
}

/** How many characters of XML are remembered, of all forms together: hundreds of domains. */
const mostRemembered = 2 ** 24;

/** With these libvirt says nothing of the XML, but of who asks or of the host. */
const notAboutTheDefinition: ReadonlySet<ErrorCodeName> = new Set([
  "ACCESS_DENIED",
  "AUTH_UNAVAILABLE",
  "NO_MEMORY",
  "OPERATION_DENIED",
  "OPERATION_TIMEOUT",
  "RPC",
  "SYSTEM_ERROR",
]);

interface Remembered {
  readonly xml: string;
  readonly plain: string;
}

/**
 * Asks libvirt what it makes of domains' XML, and remembers that. A refusal is not remembered: what it is for may be
 * mended on the host.
 */
export class NormalForms {
  readonly #calls: Caller;
  /** By the XML that was given, the one that was asked for last at the end. */
  readonly #remembered = new Map<string, Remembered>();
  #length = 0;

  constructor(calls: Caller) {
    this.#calls = calls;
  }

  /**
   * The normal form of a merged definition, less the marks of this program. Rejects with a DefinitionError, in
   * libvirt's words, where libvirt takes no such domain, and otherwise as a call does.
   */
  async of(merged: XmlElement): Promise<NormalForm> {
    const asked = withoutMarks(merged);
    const key = formatXml(asked);
    const known = this.#remembered.get(key) ?? (await this.#ask(asked));
    this.#remember(key, known);
    const xml = parseXml(known.xml);
    return { xml, plain: known.plain === known.xml ? xml : parseXml(known.plain) };
  }

  /** Another libvirt may make something else of the same. */
  forget(): void {
    this.#remembered.clear();
    this.#length = 0;
  }

  async #ask(asked: XmlElement): Promise<Remembered> {
    try {
      return await withMomentaryDomain(this.#calls, asked, async (dom) => {
        const [xml, plain] = await Promise.all([
          this.#read(dom, XmlFlag.Inactive | XmlFlag.Secure),
          this.#read(dom, XmlFlag.Inactive),
        ]);
        return { xml: formatXml(renamed(xml, dom, asked)), plain: formatXml(renamed(plain, dom, asked)) };
      });
    } catch (error) {
      throw refusalOf(error);
    }
  }

  async #read(dom: LibvirtDomain, flags: number): Promise<XmlElement> {
    const { xml } = await this.#calls.call(procedures.domainGetXmlDesc, { dom, flags });
    return withoutMarks(parseXml(xml));
  }

  #remember(key: string, form: Remembered): void {
    const length = (one: string, { xml, plain }: Remembered) => one.length + xml.length + plain.length;
    if (this.#remembered.delete(key)) this.#length -= length(key, form);
    this.#remembered.set(key, form);
    this.#length += length(key, form);
    for (const [oldest, its] of this.#remembered) {
      if (this.#length <= mostRemembered) return;
      this.#remembered.delete(oldest);
      this.#length -= length(oldest, its);
    }
  }
}

function refusalOf(error: unknown): unknown {
  if (error instanceof XmlError)
    return new DefinitionError(`libvirt makes too much of the definition: ${error.message}`);
  if (!(error instanceof LibvirtError) || notAboutTheDefinition.has(error.code)) return error;
  const message = error.message.trim().replaceAll(/\s*\n\s*/g, "; ");
  return new DefinitionError(`libvirt refuses the definition: ${message}`, { cause: error });
}

/** Under its real name and UUID again, also where libvirt has made paths of them. */
function renamed(normal: XmlElement, { name, uuid }: LibvirtDomain, real: XmlElement): XmlElement {
  const names: [string, string][] = [
    [name, textOf(at(real, "name")) ?? ""],
    [uuid, textOf(at(real, "uuid")) ?? ""],
  ];
  const rename = (text: string) =>
    names.reduce((renamed, [from, to]) => renamed.replaceAll(from, () => to), text);
  const visit = (node: XmlNode): XmlNode => (typeof node === "string" ? rename(node) : visitElement(node));
  const visitElement = (of: XmlElement): XmlElement => {
    const attributes = Object.entries(of.attributes).map(([key, value]) => [key, rename(value)] as const);
    return element(of.name, Object.fromEntries(attributes), of.children.map(visit));
  };
  return visitElement(normal);
}
