import { XmlFlag } from "libvirt";
import type { Blueprint, NextStart } from "../../controller/ports.ts";
import type { Finding } from "../../controller/finding.ts";
import { configuration } from "./definition/configurations.ts";
import { DefinitionError } from "./definition/definition-error.ts";
import type { Identity } from "./definition/merge.ts";
import type { NormalForms } from "./definition/normal-form.ts";
import { planDefinition } from "./definition/plan.ts";
import { isSameDomain } from "./definition/same.ts";
import type { DomainCalls } from "./domain-calls.ts";
import { diskTargets } from "./domain-xml.ts";
import type { Caller } from "./momentary-domain.ts";
import { preflight } from "./preflight/preflight.ts";
import type { XmlElement } from "./xml/element.ts";

/** A domain whose next start is asked about; without `calls` one that is not there. */
export interface Starter {
  readonly identity: Identity;
  readonly calls?: DomainCalls | undefined;
  readonly persistent?: boolean | undefined;
  /** XML of the running boot; undefined while the domain is off. */
  readonly live?: XmlElement | undefined;
}

/** What is to be found out. */
export interface NextStartQuestion {
  readonly blueprint: Blueprint;
  /** Where everything is looked at that the start needs; undefined where that is not asked. */
  readonly host?: { readonly caller: Caller; readonly driver: string } | undefined;
}

/** What the next start would be made from. */
interface Source {
  readonly isToBeDefined: boolean;
  /** As it was written, so that paths in it mean something to who wrote it. */
  readonly written: XmlElement;
  /** As libvirt would have it, without secrets. */
  readonly normal: XmlElement;
}

/**
 * What the next start of a domain would use. A definition that cannot be used is a finding. Rejects as a call does, and
 * with a DomainXmlError where libvirt's XML cannot be read.
 */
export async function nextStart(
  forms: NormalForms,
  starter: Starter,
  question: NextStartQuestion,
): Promise<NextStart> {
  try {
    const source = await sourceOf(forms, starter, question.blueprint.definition);
    const { isToBeDefined, normal, written } = source;
    const { live } = starter;
    return {
      isToBeDefined,
      changes: live && changesOf(live, normal),
      absentDisks: live === undefined ? [] : absentDisks(live, normal),
      findings: await findingsOf(written, starter, question),
    };
  } catch (error) {
    if (!(error instanceof DefinitionError)) throw error;
    return { isToBeDefined: true, absentDisks: [], findings: [definitionInvalid(error)] };
  }
}

async function sourceOf(
  forms: NormalForms,
  { identity, calls, persistent = false }: Starter,
  definition: string | undefined,
): Promise<Source> {
  if (definition === undefined) {
    if (calls === undefined)
      throw new Error("a domain that is not there has no next start without a definition");
    const xml = await calls.xml(XmlFlag.Inactive);
    return { isToBeDefined: false, written: xml, normal: xml };
  }
  const xml = await calls?.xml(XmlFlag.Inactive | XmlFlag.Secure);
  const current = xml && configuration(xml, persistent);
  const { merged, normal } = await planDefinition(forms, definition, current, identity);
  const isToBeDefined = xml === undefined || !persistent || !isSameDomain(normal.xml, xml);
  return { isToBeDefined, written: merged, normal: normal.plain };
}

function absentDisks(live: XmlElement, next: XmlElement): string[] {
  const present = new Set(diskTargets(live));
  return diskTargets(next).filter((target) => !present.has(target));
}

function definitionInvalid({ message }: DefinitionError): Finding {
  return {
    reason: "DefinitionInvalid",
    path: "spec.definition",
    message,
    remedy: "correct the domain XML in spec.definition, or what it refers to",
  };
}

/** What the running boot differs in from its next start; undefined where that is not known. */
function changesOf(_live: XmlElement, _next: XmlElement): string[] | undefined {
  return undefined;
}

/** What keeps a start from this XML from succeeding; undefined where that was not asked. */
async function findingsOf(
  xml: XmlElement,
  { identity, live }: Starter,
  { blueprint, host }: NextStartQuestion,
): Promise<Finding[] | undefined> {
  if (host === undefined) return undefined;
  const { caller, driver } = host;
  const { volumes } = blueprint;
  return preflight(caller, xml, { driver, domain: identity, liveXml: live, volumes });
}
