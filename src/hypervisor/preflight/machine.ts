import type { DeclaredVolume } from "../../../crds/machine.ts";
import { at, childElements, type XmlElement } from "../xml/element.ts";

/** What is known of the machine beside the XML that its next start will use. */
export interface PreflightContext {
  /** The scheme of the hypervisor's own URI, such as "qemu" or "test". */
  driver: string;
  domain: { name: string; /** Absent where it is not defined yet. */ uuid?: string | undefined };
  /** The XML of the running boot; absent where none runs. */
  liveXml?: XmlElement | undefined;
  volumes: readonly DeclaredVolume[];
}

/** A machine whose next start is looked at. */
export interface Machine extends PreflightContext {
  /** What that start will use. */
  xml: XmlElement;
}

/** A device of the XML, and where it is: an XPath below the domain such as "devices/disk[2]". */
export interface Located {
  element: XmlElement;
  path: string;
}

/** The devices of one kind, in their order. */
export function devicesOf(xml: XmlElement, kind: string): Located[] {
  return childElements(at(xml, "devices"), kind).map((element, index) => ({
    element,
    path: `devices/${kind}[${index + 1}]`,
  }));
}
