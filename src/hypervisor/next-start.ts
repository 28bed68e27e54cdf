import { XmlFlag } from "libvirt";
import type { Blueprint, Comparison, NextStart } from "../../controller/ports.ts";
import type { Finding } from "../../controller/finding.ts";
import { changesBetween } from "./changes/changes.ts";
import { configuration, keepsPrevious } from "./definition/configurations.ts";
import { DefinitionError } from "./definition/definition-error.ts";
import type { Identity } from "./definition/merge.ts";
import type { NormalForms } from "./definition/normal-form.ts";
import { planDefinition } from "./definition/plan.ts";
import { isSameDomain } from "./definition/same.ts";
import type { DomainCalls } from "./domain-calls.ts";
import { diskTargets } from "./domain-xml.ts";
import { preflight } from "./preflight/preflight.ts";
import type { Caller } from "./caller.ts";
import type { XmlElement } from "./xml/element.ts";

/** The hypervisor that the next start is on. */
export interface Host {
  readonly session: Caller;
  /** The scheme of the hypervisor's own URI, such as "qemu". */
  readonly driver: string;
  readonly forms: NormalForms;
}

/** A domain whose next start is asked about; without `calls` one that is not there. */
export interface Starter {
  readonly identity: Identity;
  readonly calls?: DomainCalls | undefined;
  readonly persistent?: boolean | undefined;
  /** XML of the running boot; undefined while the domain is off. */
  readonly live?: XmlElement | undefined;
}

/** What the next start would be made from. */
interface Source {
  readonly isToBeDefined: boolean;
  readonly keepsPrevious: boolean;
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
  host: Host,
  starter: Starter,
  { blueprint, preflight: isLookedAt }: Comparison,
): Promise<NextStart> {
  try {
    const source = await sourceOf(host.forms, starter, blueprint.definition);
    const { isToBeDefined, keepsPrevious, normal, written } = source;
    const { live } = starter;
    return {
      isToBeDefined,
      keepsPrevious,
      changes: live && changesBetween(live, normal),
      absentDisks: live === undefined ? [] : absentDisks(live, normal),
      findings: isLookedAt ? await findingsOf(host, starter, written, blueprint) : undefined,
    };
  } catch (error) {
    if (!(error instanceof DefinitionError)) throw error;
    return {
      isToBeDefined: true,
      keepsPrevious: false,
      absentDisks: [],
      findings: [definitionInvalid(error)],
    };
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
    return { isToBeDefined: false, keepsPrevious: keepsPrevious(xml), written: xml, normal: xml };
  }
  const xml = await calls?.xml(XmlFlag.Inactive | XmlFlag.Secure);
  const current = xml && configuration(xml, persistent);
  const { merged, normal } = await planDefinition(forms, definition, current, identity);
  const isToBeDefined = xml === undefined || !persistent || !isSameDomain(normal.xml, xml);
  const kept = xml !== undefined && keepsPrevious(xml);
  return { isToBeDefined, keepsPrevious: kept, written: merged, normal: normal.plain };
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

/** What keeps a start from this XML from succeeding. */
async function findingsOf(
  { session, driver }: Host,
  { identity, live }: Starter,
  next: XmlElement,
  { volumes }: Blueprint,
): Promise<Finding[]> {
  return preflight(session, next, { driver, domain: identity, liveXml: live, volumes });
}
