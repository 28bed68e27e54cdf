import type { VirtualMachine } from "../crds/virtual-machine.ts";
import type { DomainReference } from "./ports.ts";

/** Which domain a resource names: by default the one of its own name. */
export function domainReference({ metadata, spec }: VirtualMachine): DomainReference {
  const { name, uuid } = spec.domain;
  return uuid === undefined ? { kind: "Name", name: name ?? metadata.name } : { kind: "UUID", uuid };
}
