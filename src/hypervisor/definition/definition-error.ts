import { parseXml, XmlError } from "../xml/parse.ts";
import type { XmlElement } from "../xml/element.ts";

/** A definition cannot be used. The message says what is wrong with it, for the person who wrote it. */
export class DefinitionError extends Error {}

/** Reads the domain XML that a resource gives. Throws a DefinitionError for what is none. */
export function parseDefinition(text: string): XmlElement {
  try {
    const root = parseXml(text);
    if (root.name === "domain") return root;
    throw new DefinitionError(
      `the definition is not that of a domain: its root is <${root.name.slice(0, 100)}> instead of <domain>`,
    );
  } catch (cause) {
    if (cause instanceof XmlError)
      throw new DefinitionError(`the definition cannot be read: ${cause.message}`, { cause });
    throw cause;
  }
}
