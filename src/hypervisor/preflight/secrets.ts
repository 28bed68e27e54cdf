import { procedures, SecretUsage } from "libvirt";
import type { Finding } from "../../../controller/finding.ts";
import { attribute, at, childElements, type XmlElement } from "../xml/element.ts";
import { disksOf, sparable } from "./disk.ts";
import type { HostCalls } from "./host-calls.ts";
import { devicesOf, type Machine } from "./machine.ts";

/** A secret that a domain refers to. */
export interface SecretReference {
  /** Where it is referred to: an XPath below the domain. */
  path: string;
  /** Whose it is, such as "disk vdb". */
  owner: string;
  uuid?: string | undefined;
  usage?: { type: number; id: string } | undefined;
  /** The disk that needs it, where the machine could start without that. */
  disk?: string | undefined;
}

/** Secrets that are not defined. Whether one has a value cannot be told without reading it, which is never done. */
export async function secretFindings({ xml }: Machine, calls: HostCalls): Promise<Finding[]> {
  const findings = secretsOf(xml).map(async (secret): Promise<Finding[]> => {
    if (!(await isAbsent(secret, calls))) return [];
    const name = secret.uuid === undefined ? `for usage ${secret.usage?.id}` : `of UUID ${secret.uuid}`;
    return [
      {
        reason: "SecretMissing",
        path: secret.path,
        message: `${secret.owner}: the secret ${name} does not exist`,
        remedy: "define it and set its value: virsh secret-define, virsh secret-set-value",
        disk: secret.disk,
      },
    ];
  });
  return (await Promise.all(findings)).flat();
}

async function isAbsent({ uuid, usage }: SecretReference, calls: HostCalls): Promise<boolean> {
  if (uuid !== undefined) {
    const answer = await calls.find(procedures.secretLookupByUuid, { uuid }, "NO_SECRET");
    return answer.kind === "Absent";
  }
  if (usage === undefined) return false;
  const args = { usageType: usage.type, usageId: usage.id };
  const answer = await calls.find(procedures.secretLookupByUsage, args, "NO_SECRET");
  return answer.kind === "Absent";
}

/** libvirt's words for what a secret is for. */
const usageTypes: ReadonlyMap<string, number> = new Map([
  ["ceph", SecretUsage.Ceph],
  ["iscsi", SecretUsage.Iscsi],
  ["passphrase", SecretUsage.Volume],
]);

const uuidForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The secrets of disks with their backing stores, of iSCSI devices and of TPMs. */
function secretsOf(xml: XmlElement): SecretReference[] {
  return [
    ...disksOf(xml).flatMap((disk) =>
      inStore(disk.element, disk.path, { owner: `disk ${disk.target}`, disk: sparable(disk) }),
    ),
    ...devicesOf(xml, "hostdev").flatMap(({ element, path }) =>
      inSource(at(element, "source"), `${path}/source`, { owner: path }),
    ),
    ...devicesOf(xml, "tpm").flatMap(({ element, path }) => {
      const uuid = attribute(at(element, "backend", "encryption"), "secret");
      return uuid === undefined || !uuidForm.test(uuid)
        ? []
        : [{ path: `${path}/backend/encryption`, owner: "the TPM", uuid }];
    }),
  ];
}

type Owner = Pick<SecretReference, "owner" | "disk">;

/** What encrypts an image and what opens its server may be told beside the source or within it. */
function inStore(store: XmlElement, path: string, owner: Owner): SecretReference[] {
  const backing = at(store, "backingStore");
  return [
    ...inSource(store, path, owner),
    ...inSource(at(store, "source"), `${path}/source`, owner),
    ...(backing === undefined ? [] : inStore(backing, `${path}/backingStore`, owner)),
  ];
}

function inSource(source: XmlElement | undefined, path: string, owner: Owner): SecretReference[] {
  return ["auth", "encryption"].flatMap((kind) =>
    childElements(at(source, kind), "secret").flatMap((secret): SecretReference[] => {
      const uuid = attribute(secret, "uuid");
      const id = attribute(secret, "usage");
      const type = usageTypes.get(attribute(secret, "type") ?? "");
      const where = { ...owner, path: `${path}/${kind}/secret` };
      if (uuid !== undefined && uuidForm.test(uuid)) return [{ ...where, uuid }];
      return id === undefined || type === undefined ? [] : [{ ...where, usage: { type, id } }];
    }),
  );
}
