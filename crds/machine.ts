import { z } from "zod";
import { rules } from "./custom-resource.ts";

/** Label of the ConfigMaps that hold definitions: only these are read. */
export const definitionLabel = "warmboot.dev/definition";

/**
 * Longest domain XML that is taken, in characters: twenty times what a large one has. The API server keeps a resource
 * as JSON, in which each bracket of the XML is six bytes: of twice this length, some XML would be refused by etcd
 * ("request is too large") instead of by a message that names the field.
 */
export const longestDefinition = 262_144;

/** The domain XML that the machine should have. */
export const definition = z
  .object({
    xml: z
      .string()
      .min(1)
      .max(longestDefinition)
      .optional()
      .describe(
        "The domain XML itself. A large one, of 70 kB and more, may need kubectl apply --server-side: otherwise kubectl " +
          "keeps a copy in an annotation, which has too little room for it.",
      ),
    configMapKeyRef: z
      .object({
        name: z
          .string()
          .min(1)
          .max(253)
          .describe("Name of the ConfigMap, in the namespace of this resource."),
        key: z.string().min(1).max(253).describe("The key whose value is the domain XML."),
      })
      .optional()
      .describe(
        `Where the domain XML is: a ConfigMap with the label ${definitionLabel}, of any value; others are not read. ` +
          `One that has no such label gets it by kubectl label configmap NAME ${definitionLabel}=`,
      ),
  })
  .meta({
    description:
      "The domain XML that the machine should have. A restart by shutdown or power cycle makes it the domain's " +
      "persistent configuration before the guest is asked; until then status.pendingChanges lists what would change. " +
      "Where it is silent about UUID, MAC and PCI addresses and NVRAM, the domain keeps its own. A domain that is not " +
      "there is defined from it when a restart is requested. Without it the domain's own configuration counts.",
    ...rules([
      "has(self.xml) != has(self.configMapKeyRef)",
      "give either xml or configMapKeyRef, and not both: they could be two definitions",
    ]),
  });

/**
 * What libvirt's objects can be named: a control character can be in no XML, and a NUL in no call. Without the flag, as
 * the API server reads it, it means the same.
 */
export const objectName = /^[^/\p{Cc}]+$/u;

const volumeFormat = z.enum(["raw", "qcow2"]);

const poolName = z.string().min(1).max(253).regex(objectName);
const volumeName = z.string().min(1).max(255).regex(objectName);

/** A storage volume that the machine must have. */
export const declaredVolume = z
  .object({
    pool: poolName.describe("Storage pool of the volume."),
    name: volumeName.describe("Name of the volume in its pool."),
    capacity: z
      .string()
      .regex(/^[1-9][0-9]{0,14}(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$/)
      .optional()
      .describe(
        "Size of the disk that the guest sees, such as 10Gi. Default: that of its source. An existing volume is never " +
          "resized.",
      ),
    format: volumeFormat.default("qcow2").describe("Format of the volume that is created."),
    source: z
      .object({
        backing: z
          .object({
            pool: poolName.optional().describe("Its pool. Default: the volume's own."),
            name: volumeName.describe("The volume that the new one is backed by."),
            format: volumeFormat.default("qcow2").describe("Format of the backing volume."),
          })
          .optional()
          .describe("The new volume begins as a copy-on-write overlay of another one."),
        clone: z
          .object({
            pool: poolName.optional().describe("Its pool. Default: the volume's own."),
            name: volumeName.describe("The volume that is copied."),
          })
          .optional()
          .describe("The new volume begins as a full copy of another one, in its format."),
      })
      .optional()
      .meta({
        description: "What the volume is created from when it is missing. Default: it begins empty.",
        ...rules([
          "!(has(self.backing) && has(self.clone))",
          "give backing or clone, not both: a volume has one origin",
        ]),
      }),
  })
  .meta({
    description:
      "A storage volume that the machine must have. It is created before a start where it is missing, and never " +
      "overwritten, resized or deleted.",
    ...rules(["has(self.capacity) || has(self.source)", "an empty volume needs a capacity, such as 10Gi"]),
  });
/** A storage volume that the machine must have. */
export type DeclaredVolume = z.output<typeof declaredVolume>;

/** Bytes of a capacity, such as 10737418240 of "10Gi". It has the form that the schema demands. */
export function bytesOf(capacity: string): number {
  const [, number = "", unit = ""] = /^([0-9]+)([A-Za-z]*)$/.exec(capacity) ?? [];
  return Number(number) * (bytesOfUnit[unit] ?? 1);
}

const bytesOfUnit: Readonly<Record<string, number>> = {
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
};

/** How many volumes a machine may declare. */
export const mostVolumes = 64;

/** Longest message or remedy of a finding, and longest path to what it is about, in characters. */
export const longestFindingText = 512;
export const longestPath = 256;

/** A disk without which the running boot was started. */
export const detachedVolume = z
  .object({
    disk: z.string().describe('Target of the disk, such as "vdb".'),
    reason: z.string().describe("Why it could not be had, as one word for programs."),
    message: z.string().max(longestFindingText).describe("Why it could not be had, in words for people."),
  })
  .describe("A disk without which the running boot was started.");
/** A disk without which the running boot was started. */
export type DetachedVolume = z.output<typeof detachedVolume>;

/** Something that keeps the domain from starting, as the status tells it. */
export const preflightFinding = z
  .object({
    reason: z.string().describe("What is wrong, as one word for programs."),
    path: z
      .string()
      .max(longestPath)
      .describe("Where in the domain XML or in this resource it is referred to."),
    message: z.string().max(longestFindingText).describe("What is wrong, in words for people."),
    remedy: z.string().max(longestFindingText).describe("What would mend it."),
  })
  .describe("Something that keeps the domain from starting.");
/** Something that keeps the domain from starting, as the status tells it. */
export type PreflightFinding = z.output<typeof preflightFinding>;

/** How many findings, pending changes, repairs and detached volumes the status lists; of more, the first. */
export const mostListed = 32;

/** Longest sentence in a list of pending changes or repairs, in characters. */
export const longestListed = 256;
