import { at, element, textOf, type XmlElement } from "../xml/element.ts";
import { isOurs, metadataOf, withMetadata, withoutMarks } from "../metadata.ts";
import { DefinitionError } from "./definition-error.ts";
import { keepDevices } from "./keep-devices.ts";
import { keepFirmware } from "./firmware.ts";
import { keepMachine } from "./machine.ts";

/** What the domain is called; without the one or the other, the definition or libvirt says. */
export interface Identity {
  readonly name?: string | undefined;
  readonly uuid?: string | undefined;
}

/**
 * What is defined to give a domain its definition: the definition, under the domain's own name and UUID, and with what
 * libvirt has assigned and the guest depends on where the definition is silent. Without `current` nothing is kept.
 * Throws a DefinitionError for a definition of another domain.
 *
 * Marks of this program in the definition are dropped, and those of `current` are kept: give one without marks where
 * they are not to be.
 */
export function mergeDefinition(
  definition: XmlElement,
  current: XmlElement | undefined,
  identity: Identity,
): XmlElement {
  const identified = identify(withoutMarks(definition), identity);
  if (current === undefined) return identified;
  const kept = [keepMachine, keepFirmware, keepGenerationId, keepDevices, keepMetadata];
  return kept.reduce((merged, keep) => keep(merged, current), identified);
}

function identify(definition: XmlElement, { name, uuid }: Identity): XmlElement {
  if (definition.name !== "domain") throw new DefinitionError(`the definition is a <${definition.name}>`);
  const [ownName, ownUuid] = [textOf(at(definition, "name")), textOf(at(definition, "uuid"))];
  if (name === undefined && ownName === undefined)
    throw new DefinitionError("the definition names no domain: give it a <name>");
  if (name !== undefined && ownName !== undefined && ownName !== name)
    throw new DefinitionError(`the definition is that of domain ${ownName}, and this is ${name}`);
  if (uuid !== undefined && ownUuid !== undefined && plainUuid(ownUuid) !== plainUuid(uuid))
    throw new DefinitionError(`the definition has the UUID ${ownUuid}, and the domain has ${uuid}`);
  return setText(setText(definition, "uuid", uuid), "name", name);
}

/** libvirt reads a UUID with dashes anywhere, in either case. */
function plainUuid(uuid: string): string {
  return uuid.replaceAll(/[-\s]/g, "").toLowerCase();
}

function setText(domain: XmlElement, name: string, text: string | undefined): XmlElement {
  if (text === undefined) return domain;
  const others = domain.children.filter((node) => typeof node === "string" || node.name !== name);
  return { ...domain, children: [element(name, {}, [text]), ...others] };
}

/** An empty `<genid/>` asks libvirt for a new one at each definition: to the guest, it had been restored from a backup. */
function keepGenerationId(definition: XmlElement, current: XmlElement): XmlElement {
  const known = textOf(at(current, "genid"));
  const open = at(definition, "genid");
  if (known === undefined || open === undefined || textOf(open) !== undefined) return definition;
  const children = definition.children.map((node) => (node === open ? { ...open, children: [known] } : node));
  return { ...definition, children };
}

/** Other programs keep what they know of a domain in its metadata. */
function keepMetadata(definition: XmlElement, current: XmlElement): XmlElement {
  const own = metadataOf(definition);
  const uris = new Set(own.map(({ uri }) => uri));
  const kept = metadataOf(current).filter((entry) => isOurs(entry) || !uris.has(entry.uri));
  return kept.length === 0 ? definition : withMetadata(definition, [...own, ...kept]);
}
