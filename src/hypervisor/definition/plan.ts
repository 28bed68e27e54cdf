import type { XmlElement } from "../xml/element.ts";
import { DefinitionError, parseDefinition } from "./definition-error.ts";
import { keepAddedDevices } from "./keep-devices.ts";
import { mergeDefinition, type Identity } from "./merge.ts";
import type { NormalForm, NormalForms } from "./normal-form.ts";

/** What a definition comes to for a domain. */
export interface Plan {
  /** What is to be defined. */
  readonly merged: XmlElement;
  /** What libvirt will make of it. */
  readonly normal: NormalForm;
}

/**
 * Merges a definition with what a domain has, undefined where there is none yet. Once it has been defined, the plan for
 * the same definition is what the domain has. Rejects with a DefinitionError for one that cannot be used, and otherwise
 * as a call does.
 */
export async function planDefinition(
  forms: NormalForms,
  definition: string,
  current: XmlElement | undefined,
  identity: Identity,
): Promise<Plan> {
  const merged = mergeDefinition(parseDefinition(definition), current, identity);
  const plan = { merged, normal: await forms.of(merged) };
  if (current === undefined) return plan;
  const settled = keepAddedDevices(merged, plan.normal.xml, current);
  if (settled === merged) return plan;
  try {
    return { merged: settled, normal: await forms.of(settled) };
  } catch (error) {
    // The definition is good; only what libvirt adds to it cannot stay where it was.
    if (error instanceof DefinitionError) return plan;
    throw error;
  }
}
