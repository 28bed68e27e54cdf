import type { NameOf } from "./enumeration.ts";

/** Which metadata domainSetMetadata and domainGetMetadata mean, and a change is of (virDomainMetadataType). */
export const MetadataType = { Description: 0, Title: 1, Element: 2 } as const;
/** Which metadata changed. */
export type MetadataKind = NameOf<typeof MetadataType>;
