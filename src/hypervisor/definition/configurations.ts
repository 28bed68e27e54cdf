import { DefineFlag, LibvirtError, procedures, XmlFlag } from "libvirt";
import {
  requestMarkUri,
  type Domain,
  type DomainReference,
  type RequestMark,
} from "../../../controller/ports.ts";
import type { DomainCalls } from "../domain-calls.ts";
import { asMetadataEntry, previousUri, requestMark } from "../marks.ts";
import { isOurs, metadataOf, withMetadata, withoutMarks, type MetadataEntry } from "../metadata.ts";
import { at, element, textOf, type XmlElement } from "../xml/element.ts";
import { formatXml } from "../xml/format.ts";
import type { Caller } from "../caller.ts";
import { isRefusal } from "../refusal.ts";
import { parseXml, xmlBounds, XmlError } from "../xml/parse.ts";
import { DefinitionError, parseDefinition } from "./definition-error.ts";
import { mergeDefinition } from "./merge.ts";
import type { NormalForms } from "./normal-form.ts";
import { planDefinition } from "./plan.ts";
import { isSameDomain } from "./same.ts";

/** A configuration that keeps the one before may be this long: it must not become one that is too long to be read. */
const longestWithPrevious = xmlBounds.length / 2;

/** Changes the persistent configurations of domains, and keeps of each the one before. */
export class Configurations {
  readonly #session: Caller;
  readonly #forms: NormalForms;
  /** By the domain's UUID, those that are not written down, because of secrets or their length. */
  readonly #previous = new Map<string, XmlElement>();

  constructor(session: Caller, forms: NormalForms) {
    this.#session = session;
    this.#forms = forms;
  }

  /**
   * Makes a definition the domain's persistent configuration and keeps the one before, on the domain itself where that
   * has no secrets; nothing where it is that already. Where one is kept already, no restart has succeeded with what
   * came after it: it stays the one to go back to. Without a definition, makes a transient domain persistent as it
   * is. Rejects with a DefinitionError, or as a call does.
   */
  async define(calls: DomainCalls, { name, uuid }: Domain, definition: string | undefined): Promise<void> {
    const [persistent, xml, plain] = await Promise.all([
      calls.isPersistent(),
      calls.xml(XmlFlag.Inactive | XmlFlag.Secure),
      calls.xml(XmlFlag.Inactive),
    ]);
    if (definition === undefined) {
      if (!persistent) await calls.define(withoutMarks(xml), DefineFlag.None);
      return;
    }
    const current = configuration(xml, persistent);
    const { merged, normal } = await planDefinition(this.#forms, definition, current, { name, uuid });
    if (!persistent) await calls.define(merged, DefineFlag.Validate);
    else if (!isSameDomain(normal.xml, xml)) await this.#replace(calls, uuid, { xml, plain, merged });
  }

  /**
   * Defines the configuration again that the last definition has replaced, with this request mark. Rejects with a
   * DefinitionError where it is not known, or as a call does.
   */
  async rollBack(calls: DomainCalls, { name, uuid }: Domain, mark: RequestMark): Promise<void> {
    const previous = (await writtenPrevious(calls)) ?? this.#previous.get(uuid);
    if (previous === undefined)
      throw new DefinitionError(
        "the configuration before is not known any more: it has secrets, which are kept only while the controller runs, " +
          "or there was none",
      );
    const restored = mergeDefinition(previous, undefined, { name, uuid });
    const entries = [...metadataOf(restored), asMetadataEntry(requestMark(mark))];
    // libvirt has taken it before, maybe without a look at its schema.
    await calls.define(withMetadata(restored, entries), DefineFlag.None);
    this.#previous.delete(uuid);
  }

  /** Defines a domain that is not there. Rejects with a DefinitionError, or as a call does. */
  async defineNew(reference: DomainReference, definition: string): Promise<void> {
    const identity = reference.kind === "Name" ? { name: reference.name } : { uuid: reference.uuid };
    const xml = mergeDefinition(parseDefinition(definition), undefined, identity);
    const name = textOf(at(xml, "name")) ?? "";
    // libvirt would define one that is there anew.
    if (await this.#exists(name)) throw new DefinitionError(`there is a domain ${name} already`);
    const args = { xml: formatXml(xml), flags: DefineFlag.Validate };
    await this.#session.call(procedures.domainDefineXmlFlags, args, { waitsFor: "Domain" });
  }

  /** The attempt of which the previous configuration was kept is over. */
  forgetPrevious({ uuid }: Domain): void {
    this.#previous.delete(uuid);
  }

  async #replace(
    calls: DomainCalls,
    uuid: string,
    { xml, plain, merged }: { xml: XmlElement; plain: XmlElement; merged: XmlElement },
  ): Promise<void> {
    const keptBefore = this.#previous.get(uuid);
    const writtenBefore = await writtenPrevious(calls);
    const hasSecrets = keptBefore !== undefined || !isSameDomain(xml, plain);
    const isToBeWritten = writtenBefore !== undefined || !hasSecrets;
    const previous = writtenBefore ?? keptBefore ?? withoutMarks(xml);
    const written = isToBeWritten ? withPrevious(merged, previous) : undefined;
    // An answer that does not come may be one that it was done.
    if (written === undefined) this.#previous.set(uuid, previous);
    try {
      await calls.define(written ?? merged, DefineFlag.Validate);
    } catch (error) {
      if (error instanceof LibvirtError) this.#restore(uuid, keptBefore);
      throw error;
    }
    if (written !== undefined) this.#previous.delete(uuid);
  }

  #restore(uuid: string, previous: XmlElement | undefined): void {
    if (previous === undefined) this.#previous.delete(uuid);
    else this.#previous.set(uuid, previous);
  }

  async #exists(name: string): Promise<boolean> {
    try {
      await this.#session.call(procedures.domainLookupByName, { name });
      return true;
    } catch (error) {
      if (isRefusal(error, "NO_DOMAIN")) return false;
      throw error;
    }
  }
}

/**
 * What a definition is merged with: the domain's XML with the request mark, which the next boot is to carry, and
 * without other marks. A transient domain has no configuration that could have one, but marks of its boot.
 */
export function configuration(xml: XmlElement, persistent: boolean): XmlElement {
  const isKept = (entry: MetadataEntry) => !isOurs(entry) || (persistent && entry.uri === requestMarkUri);
  return withMetadata(xml, metadataOf(xml).filter(isKept));
}

/** Whether a domain's XML has the one before in its metadata. */
export function keepsPrevious(xml: XmlElement): boolean {
  return metadataOf(xml).some(({ uri }) => uri === previousUri);
}

/** The domain's XML with the previous one in its metadata; undefined where that is too long. */
function withPrevious(merged: XmlElement, previous: XmlElement): XmlElement | undefined {
  const text = formatXml(previous);
  const kept = element("warmboot-previous:previous", { "xmlns:warmboot-previous": previousUri }, [text]);
  const all = withMetadata(merged, [...metadataOf(merged), { uri: previousUri, element: kept }]);
  return formatXml(all).length > longestWithPrevious ? undefined : all;
}

async function writtenPrevious(calls: DomainCalls): Promise<XmlElement | undefined> {
  const written = await calls.previousConfiguration();
  try {
    const text = written === undefined ? undefined : textOf(parseXml(written));
    return text === undefined ? undefined : parseXml(text);
  } catch (error) {
    // Somebody else wrote it: the same as none.
    if (error instanceof XmlError) return undefined;
    throw error;
  }
}
