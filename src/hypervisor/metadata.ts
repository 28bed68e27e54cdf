import { at, attribute, childElements, element, type XmlElement } from "./xml/element.ts";

/** What the XML namespace of everything begins with that this program writes into a domain's metadata. */
const ourNamespaces = "https://warmboot.dev/";

/** One element of a domain's metadata, with the XML namespace by which libvirt knows it. */
export interface MetadataEntry {
  /** Undefined where it has none; libvirt drops such an element. */
  readonly uri: string | undefined;
  readonly element: XmlElement;
}

/** The elements of a domain's metadata, in their order. Each one stands alone: it declares its own namespace. */
export function metadataOf(domain: XmlElement): MetadataEntry[] {
  return childElements(at(domain, "metadata")).map((entry) => {
    const declaration = prefixDeclaration(entry);
    const above = [entry, at(domain, "metadata"), domain].map((one) => attribute(one, declaration));
    const uri = above.find((one) => one !== undefined);
    const attributes = uri === undefined ? entry.attributes : { ...entry.attributes, [declaration]: uri };
    return { uri, element: { ...entry, attributes } };
  });
}

/** Whether this program has written it. */
export function isOurs({ uri }: MetadataEntry): boolean {
  return uri?.startsWith(ourNamespaces) === true;
}

/** The domain with this metadata instead of its own. */
export function withMetadata(domain: XmlElement, entries: readonly MetadataEntry[]): XmlElement {
  const others = domain.children.filter((node) => typeof node === "string" || node.name !== "metadata");
  if (entries.length === 0) return { ...domain, children: others };
  const metadata = element(
    "metadata",
    at(domain, "metadata")?.attributes,
    entries.map((entry) => entry.element),
  );
  return { ...domain, children: [...others, metadata] };
}

/** The domain without what this program has written into its metadata. */
export function withoutMarks(domain: XmlElement): XmlElement {
  const entries = metadataOf(domain);
  const others = entries.filter((entry) => !isOurs(entry));
  return others.length === entries.length ? domain : withMetadata(domain, others);
}

/** The attribute that declares the namespace of an element's prefix. */
function prefixDeclaration({ name }: XmlElement): string {
  const [prefix] = name.includes(":") ? name.split(":") : [];
  return prefix === undefined ? "xmlns" : `xmlns:${prefix}`;
}
