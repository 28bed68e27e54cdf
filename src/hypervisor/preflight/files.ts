import { at, attribute, childElements, textOf, type XmlElement } from "../xml/element.ts";
import type { Finding, FindingReason } from "../../../controller/finding.ts";
import type { FileLooks } from "./file-reader.ts";
import { devicesOf } from "./machine.ts";

/** A file or directory on the hypervisor that a domain's XML refers to, beside its disks. */
export interface FileReference {
  file: string;
  /** Where it is referred to: an XPath below the domain. */
  path: string;
  /** What it is to the machine, such as "the kernel". */
  what: string;
  reason: FindingReason;
  isDirectory?: boolean | undefined;
}

/**
 * The files that a start opens. Left out is what a look could disturb or wait for, such as serial ports and sources of
 * random numbers, and what a start makes itself, such as logs and sockets.
 */
export function filesOf(xml: XmlElement): FileReference[] {
  const os = at(xml, "os");
  const named = (element: XmlElement | undefined, path: string, what: string, reason: FindingReason) => ({
    file: textOf(element),
    path,
    what,
    reason,
  });
  const references = [
    named(at(os, "loader"), "os/loader", "the firmware", "FirmwareMissing"),
    named(at(os, "kernel"), "os/kernel", "the kernel", "KernelMissing"),
    named(at(os, "initrd"), "os/initrd", "the initial RAM disk", "KernelMissing"),
    named(at(os, "dtb"), "os/dtb", "the device tree", "KernelMissing"),
    ...childElements(at(os, "acpi"), "table").map((table, index) =>
      named(table, `os/acpi/table[${index + 1}]`, "the ACPI table", "FileMissing"),
    ),
    ...devicesOf(xml, "filesystem").map(({ element, path }) => ({
      file: attribute(at(element, "source"), "dir") ?? attribute(at(element, "source"), "file"),
      path: `${path}/source`,
      what: `the directory of file system ${attribute(at(element, "target"), "dir") ?? "without a name"}`,
      reason: "FileMissing" as const,
      isDirectory: attribute(at(element, "source"), "dir") !== undefined,
    })),
    ...["interface", "hostdev"].flatMap((kind) =>
      devicesOf(xml, kind).map(({ element, path }) => ({
        file: attribute(at(element, "rom"), "file"),
        path: `${path}/rom`,
        what: "the ROM",
        reason: "FileMissing" as const,
      })),
    ),
  ];
  return references.filter((one): one is FileReference => one.file?.startsWith("/") === true);
}

/** The files that the XML refers to and that cannot be had. */
export function fileFindings(references: readonly FileReference[], looks: FileLooks): Finding[] {
  return references.flatMap(({ file, path, what, reason, isDirectory = false }) => {
    const look = looks.get(file);
    if (look?.kind === "Missing")
      return {
        reason,
        path,
        message: `${what} ${file} does not exist`,
        remedy: `put ${what} back at ${file}, or define another one`,
      };
    if (look?.kind === "Unreadable")
      return {
        reason,
        path,
        message: `${what} ${file} cannot be read: ${look.message}`,
        remedy: `make ${file} readable to the hypervisor`,
      };
    if (look?.kind === "Directory" && !isDirectory)
      return {
        reason,
        path,
        message: `${what} ${file} is a directory`,
        remedy: `put ${what} back at ${file}, or define another one`,
      };
    return [];
  });
}
