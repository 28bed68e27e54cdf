import { attribute, type XmlElement } from "../../xml/element.ts";
import type { Place } from "../difference.ts";
import type { Addition } from "./addition.ts";

/** The processor that libvirt finds where none is named, and what becomes of the features of one that is. */
export const processor: readonly Addition[] = [
  { where: "cpu@check", because: "how a start compares; what runs was compared in full" },
  { where: "cpu@match", because: "what runs matches exactly" },
  { where: "cpu@migratable", only: "running", because: "the default" },
  { where: "cpu@mode", when: isChosenProcessor, because: "what libvirt chose" },
  { where: "cpu/model", only: "running", when: isOfExpanded, because: "what libvirt chose" },
  { where: "cpu/model@fallback", because: "what runs has found its model" },
  { where: "cpu/model@vendor_id", only: "running", when: isOfChosen, because: "what libvirt chose" },
  { where: "cpu/model#", when: isOfChosen, because: "what libvirt chose" },
  { where: "cpu/vendor", only: "running", when: isOfExpanded, because: "that of the model" },
  { where: "cpu/signature", only: "running", when: isOfExpanded, because: "that of the model" },
  { where: "cpu/maxphysaddr", only: "running", when: isOfChosen, because: "that of the host" },
  {
    where: "cpu/feature",
    only: "running",
    when: isOfExpanded,
    because:
      "what the hypervisor has beyond the model, or lacks of it; what was asked for is not told from it",
  },
  {
    where: "cpu/feature",
    only: "next",
    when: mayBeMissing,
    because: "it is there only where the host has it",
  },
  { where: "cpu/feature@policy", when: isPolicyKept, because: "what became of the wish" },
];

/** Whether a processor is what libvirt made of the configured one at start. */
function isExpanded(cpu: XmlElement | undefined): boolean {
  return attribute(cpu, "mode") === "custom" && attribute(cpu, "check") === "full";
}

function isChosenProcessor({ running, next }: Place): boolean {
  return isExpanded(running) && ["", "host-model", "maximum"].includes(attribute(next, "mode") ?? "");
}

/** Of something in <cpu>. */
function isOfExpanded({ parent }: Place): boolean {
  return isExpanded(parent?.running);
}

/** Of something in <cpu>: whether libvirt chose the model, at will or as the least that would do. */
function isOfChosen({ parent }: Place): boolean {
  if (parent === undefined) return false;
  return (
    isChosenProcessor(parent) || (isExpanded(parent.running) && attribute(parent.next, "match") === "minimum")
  );
}

/** libvirt's names of features that QEMU has not, which it leaves out. */
const unknownFeatures = new Set(["cmt", "cvt16", "mbm_local", "mbm_total", "ospke", "osxsave", "pconfig"]);

function mayBeMissing({ parent, next }: Place): boolean {
  if (!isExpanded(parent?.running)) return false;
  const isUnknown = unknownFeatures.has(attribute(next, "name") ?? "");
  return isUnknown || ["optional", "forbid"].includes(attribute(next, "policy") ?? "");
}

function isPolicyKept({ parent, running, next }: Place): boolean {
  if (!isExpanded(parent?.running)) return false;
  const isThere = attribute(running, "policy") !== "disable";
  switch (attribute(next, "policy")) {
    case "optional":
      return true;
    case "disable":
    case "forbid":
      return !isThere;
    case "require":
    case "force":
      return !isThere && isUnchecked(parent);
    default:
      return false;
  }
}

/** Whether a domain starts although its processor lacks what it requires. */
function isUnchecked(cpu: Place | undefined): boolean {
  const isEmulated = attribute(cpu?.parent?.next, "type") === "qemu";
  return isEmulated || ["", "none"].includes(attribute(cpu?.next, "check") ?? "");
}
