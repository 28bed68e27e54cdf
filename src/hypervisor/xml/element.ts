/** An element of an XML document, with its prefix in its name, as it was written. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlNode[];
}

/** An element, or the text between two. Comments and processing instructions mean nothing here and are not kept. */
export type XmlNode = XmlElement | string;

/** Makes an element. An attribute that is undefined is not there. */
export function element(
  name: string,
  attributes: Readonly<Record<string, string | number | undefined>> = {},
  children: readonly XmlNode[] = [],
): XmlElement {
  const present = Object.entries(attributes).filter(([, value]) => value !== undefined);
  return {
    name,
    attributes: Object.fromEntries(present.map(([key, value]) => [key, String(value)])),
    children,
  };
}

/** The elements directly inside, all of them or those of one name, in their order. */
export function childElements(parent: XmlElement | undefined, name?: string): XmlElement[] {
  return (parent?.children ?? []).filter(
    (node): node is XmlElement => typeof node !== "string" && (name === undefined || node.name === name),
  );
}

/** The first element at a path below, such as `at(domain, "os", "loader")`; undefined where there is none. */
export function at(parent: XmlElement | undefined, ...path: string[]): XmlElement | undefined {
  return path.reduce<XmlElement | undefined>((found, name) => childElements(found, name)[0], parent);
}

/** The text directly inside, without the white space around it; undefined where there is no element or no text. */
export function textOf(parent: XmlElement | undefined): string | undefined {
  const text = (parent?.children ?? []).filter((node) => typeof node === "string").join("");
  return text.trim() === "" ? undefined : text.trim();
}

/** The value of an attribute; undefined where there is no such element or attribute. */
export function attribute(of: XmlElement | undefined, name: string): string | undefined {
  return of !== undefined && Object.hasOwn(of.attributes, name) ? of.attributes[name] : undefined;
}
