import { intParam } from "../protocol/types.ts";
import type { TypedParam } from "../protocol/types.ts";
import { nameOf } from "./enumeration.ts";
import type { NameOf } from "./enumeration.ts";

/** How far the job is that domainGetJobInfo and domainGetJobStats report in `type` (virDomainJobType). */
export const JobType = { None: 0, Bounded: 1, Unbounded: 2, Completed: 3, Failed: 4, Cancelled: 5 } as const;

/** What a job does, in the statistic "operation" (virDomainJobOperation). */
export const JobOperation = {
  Start: 1,
  Save: 2,
  Restore: 3,
  MigrationIn: 4,
  MigrationOut: 5,
  Snapshot: 6,
  SnapshotRevert: 7,
  Dump: 8,
  Backup: 9,
  SnapshotDelete: 10,
} as const;
/** What a job does. */
export type JobOperation = NameOf<typeof JobOperation>;

/** What a job does, from its statistics. */
export function decodeJobOperation(stats: readonly TypedParam[]): JobOperation {
  return nameOf(JobOperation, intParam(stats, "operation") ?? 0);
}

/** What a disk's job does, which domainGetBlockJobInfo reports in `type` (virDomainBlockJobType). */
export const BlockJobType = { Pull: 1, Copy: 2, Commit: 3, ActiveCommit: 4, Backup: 5 } as const;
/** What a disk's job does. */
export type BlockJobType = NameOf<typeof BlockJobType>;

/** How a disk's job ended, or that it waits for a command to end it (virConnectDomainEventBlockJobStatus). */
export const BlockJobStatus = { Completed: 0, Failed: 1, Canceled: 2, Ready: 3 } as const;
/** How a disk's job ended, or that it waits for a command to end it. */
export type BlockJobStatus = NameOf<typeof BlockJobStatus>;
