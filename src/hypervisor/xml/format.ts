import type { XmlElement, XmlNode } from "./element.ts";

/** What XML cannot hold, not even as a reference: most control characters, halves of characters, two that are none. */
const unwritable = /[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu;

/**
 * An element as text, which a parser reads as the same element: white space in texts and attributes included. Only what
 * XML cannot hold becomes U+FFFD: libvirt would refuse all the rest with it.
 */
export function formatXml({ name, attributes, children }: XmlElement): string {
  const written = Object.entries(attributes).map(([key, value]) => ` ${key}="${escapeAttribute(value)}"`);
  const start = `${name}${written.join("")}`;
  return children.length === 0 ? `<${start}/>` : `<${start}>${children.map(formatNode).join("")}</${name}>`;
}

function formatNode(node: XmlNode): string {
  return typeof node === "string" ? escapeText(node) : formatXml(node);
}

/** A carriage return as it is would be read as a line's end. */
function escapeText(text: string): string {
  return text
    .replaceAll(unwritable, "\uFFFD")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll("\r", "&#13;");
}

/** White space as it is would be read as blanks. */
function escapeAttribute(value: string): string {
  return escapeText(value).replaceAll('"', "&quot;").replaceAll("\t", "&#9;").replaceAll("\n", "&#10;");
}
