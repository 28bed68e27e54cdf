import { parseXml as parseDocument, XmlElement as ParsedElement, XmlText } from "@rgrove/parse-xml";
import type { XmlElement, XmlNode } from "./element.ts";

/** What a document may have at most. A domain's XML has some 10 kB, 20 levels and 300 elements. */
export const xmlBounds = {
  /** In characters. */
  length: 2 ** 20,
  /** Elements in all; counted by their opening brackets. */
  elements: 65_536,
  /** Elements inside one another. libvirt's own parser has the same bound. */
  depth: 256,
  /** Attributes of one element. */
  attributes: 256,
} as const;

/** A text is no XML document, or one that is refused. The message says what is wrong, and where that is known. */
export class XmlError extends Error {}

/**
 * Reads an XML document. Throws an XmlError for what is not well-formed, for what exceeds {@link xmlBounds}, and for a
 * document type: without one nothing but XML's own five entities and character references is ever put in.
 */
export function parseXml(text: string): XmlElement {
  if (text.length > xmlBounds.length) throw tooMuch(`${text.length} characters`, xmlBounds.length);
  const brackets = countBrackets(text);
  if (brackets > xmlBounds.elements) throw tooMuch(`${brackets} elements`, xmlBounds.elements);
  const document = read(text);
  if (document.children.some(({ type }) => type === "doctype"))
    throw new XmlError("the XML has a document type (<!DOCTYPE ...>), which is refused: remove it");
  if (document.root === null) throw new XmlError("the XML has no element");
  return convert(document.root, 1);
}

function read(text: string): ReturnType<typeof parseDocument> {
  try {
    return parseDocument(text, { preserveDocumentType: true });
  } catch (cause) {
    // The parser goes down one call for each level.
    if (cause instanceof RangeError) throw tooMuch("more levels than can be read", xmlBounds.depth);
    const [first = ""] = String(cause instanceof Error ? cause.message : cause).split("\n");
    throw new XmlError(`the XML is not well-formed: ${first.slice(0, 300)}`, { cause });
  }
}

function convert({ name, attributes, children }: ParsedElement, depth: number): XmlElement {
  if (depth > xmlBounds.depth) throw tooMuch("more levels than allowed", xmlBounds.depth);
  const count = Object.keys(attributes).length;
  if (count > xmlBounds.attributes) throw tooMuch(`${count} attributes on <${name}>`, xmlBounds.attributes);
  const nodes = children.flatMap((child): XmlNode[] => {
    if (child instanceof ParsedElement) return [convert(child, depth + 1)];
    return child instanceof XmlText ? [child.text] : [];
  });
  return { name, attributes: { ...attributes }, children: nodes };
}

/** Opening brackets that can begin an element. */
function countBrackets(text: string): number {
  let count = 0;
  for (let at = text.indexOf("<"); at >= 0; at = text.indexOf("<", at + 1)) {
    if (text[at + 1] !== "/") count += 1;
  }
  return count;
}

function tooMuch(what: string, most: number): XmlError {
  return new XmlError(`the XML has ${what}; at most ${most} are allowed`);
}
