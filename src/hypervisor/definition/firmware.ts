import { at, attribute, childElements, textOf, type XmlElement } from "../xml/element.ts";

/**
 * What `<os>` says of the firmware, with the file in which the domain keeps the firmware's variables where the
 * definition names none: the guest's way to boot is written there. It is kept only for the firmware that wrote it.
 */
export function keepFirmware(definition: XmlElement, current: XmlElement): XmlElement {
  const [os, currentOs] = [at(definition, "os"), at(current, "os")];
  if (os === undefined || currentOs === undefined || !isSameFirmware(os, currentOs)) return definition;
  const kept = keepNvram(keepChoice(os, currentOs), currentOs);
  return { ...definition, children: definition.children.map((node) => (node === os ? kept : node)) };
}

function isSameFirmware(os: XmlElement, currentOs: XmlElement): boolean {
  const loader = textOf(at(os, "loader"));
  if (loader !== undefined) return loader === textOf(at(currentOs, "loader"));
  const firmware = attribute(os, "firmware");
  return firmware !== undefined && firmware === attribute(currentOs, "firmware") && !asksForFeatures(os);
}

/** Features can make another firmware the one that fits. */
function asksForFeatures(os: XmlElement): boolean {
  return childElements(at(os, "firmware")).length > 0;
}

/** The firmware that libvirt has chosen once: a later one may not read the variables. Older libvirt writes none down. */
function keepChoice(os: XmlElement, currentOs: XmlElement): XmlElement {
  const chosen = at(currentOs, "loader");
  if (chosen === undefined || at(os, "loader") !== undefined) return os;
  return { ...os, children: [...os.children, chosen] };
}

function keepNvram(os: XmlElement, currentOs: XmlElement): XmlElement {
  const kept = at(currentOs, "nvram");
  const given = at(os, "nvram");
  if (kept === undefined) return os;
  if (given === undefined) return { ...os, children: [...os.children, kept] };
  if (given.children.some((node) => typeof node !== "string" || node.trim() !== "")) return os;
  const nvram = {
    ...given,
    attributes: { ...kept.attributes, ...given.attributes },
    children: kept.children,
  };
  return { ...os, children: os.children.map((node) => (node === given ? nvram : node)) };
}
