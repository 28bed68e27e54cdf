import type { Finding } from "../../../controller/finding.ts";
import { at, attribute, textOf, type XmlElement } from "../xml/element.ts";
import type { FileLooks } from "./file-reader.ts";

/** What a domain keeps its firmware's variables in. */
interface Nvram {
  /** The guest's own variables. */
  file: string;
  /** What libvirt copies where that file is not there yet. */
  template: string;
}

function nvramOf(xml: XmlElement): Nvram | undefined {
  const nvram = at(xml, "os", "nvram");
  const file = attribute(at(nvram, "source"), "file") ?? textOf(nvram);
  const template = attribute(nvram, "template");
  return file?.startsWith("/") === true && template?.startsWith("/") === true
    ? { file, template }
    : undefined;
}

/** The files of a domain's NVRAM. */
export function filesOfNvram(xml: XmlElement): string[] {
  const nvram = nvramOf(xml);
  return nvram === undefined ? [] : [nvram.file, nvram.template];
}

/** An NVRAM that is not there yet, and cannot be made because its template is missing. */
export function nvramFindings(xml: XmlElement, looks: FileLooks): Finding[] {
  const nvram = nvramOf(xml);
  if (nvram === undefined || looks.get(nvram.file)?.kind !== "Missing") return [];
  if (looks.get(nvram.template)?.kind !== "Missing") return [];
  return [
    {
      reason: "FirmwareMissing",
      path: "os/nvram/@template",
      message: `the template ${nvram.template} of the NVRAM ${nvram.file}, which does not exist either, does not exist`,
      remedy: "install the firmware that has this template, or restore the NVRAM",
    },
  ];
}
