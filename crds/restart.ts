import { z } from "zod";
import { longestMessage } from "./condition.ts";
import { longestListed, mostListed } from "./machine.ts";
import { timestamp } from "./timestamp.ts";

/** How a request wants to be served. */
export const restartMode = z
  .enum(["Auto", "Soft", "Hard"])
  .describe(
    "Auto: the guest is asked to shut down, and power-cycled when it does not within soft.timeoutSeconds or " +
      "when libvirt reports an error. Soft: it is only ever asked; the restart fails when it does not answer. " +
      "Hard: it is power-cycled at once.",
  );
/** How a request wants to be served. */
export type RestartMode = z.output<typeof restartMode>;

/** How many joined tokens are remembered; of more, the oldest are forgotten. */
export const mostJoinedTokens = 10;

/** What asked for a restart: one or both of the triggers. */
export const restartRequest = z
  .object({
    restartGeneration: z.int().optional().describe("The spec.restartGeneration that requests it."),
    restartToken: z
      .string()
      .optional()
      .describe("The value of the annotation warmboot.dev/restart that requests it."),
    joinedTokens: z
      .array(z.string())
      .max(mostJoinedTokens)
      .optional()
      .describe("Earlier values of the annotation that the same restart serves: a newer one joined them."),
    mode: restartMode.optional().describe("The mode that the annotation warmboot.dev/restart-mode asks for."),
    requestedAt: timestamp.describe("When the controller first saw the request."),
  })
  .describe("A request for a restart.");
/** A request for a restart. */
export type RestartRequest = z.output<typeof restartRequest>;

/** Where an attempt can be; PoweringOff only when it is forced. */
export const restartStages = [
  "Queued",
  "Preparing",
  "ShuttingDown",
  "PoweringOff",
  "Starting",
  "Verifying",
] as const;
/** Where an attempt can be. */
export type RestartStage = (typeof restartStages)[number];

/** What ended the old boot. Start: the domain was already off, or somebody else stopped it. */
export const restartMethods = ["Soft", "Hard", "Start"] as const;
/** What ended the old boot. */
export type RestartMethod = (typeof restartMethods)[number];

/** How a restart can end. */
export const restartResults = ["Succeeded", "Failed", "Skipped", "Unverified"] as const;
/** How a restart can end. */
export type RestartResult = (typeof restartResults)[number];

/** What was seen that proves a restart. */
export const restartEvidence = [
  "StopEvent",
  "DomainOff",
  "BootMarkGone",
  "RequestMarkSeen",
  "DomainIDChanged",
  "DomainRecord",
  "RebootEvent",
  "BootIDChanged",
  "AgentReady",
] as const;
/** What was seen that proves a restart. */
export type RestartEvidence = (typeof restartEvidence)[number];

const methodDescription =
  "How the old boot ended. Soft: the guest shut down when asked. Hard: its power was cut. " +
  "Start: it was off without our doing, and was only started.";

const repairs = z
  .array(z.string().max(longestListed))
  .max(mostListed)
  .optional()
  .describe('What was mended before the start, such as "started pool images".');

/** A restart in flight. */
export const restartAttempt = z
  .object({
    id: z
      .string()
      .describe("Random name of this attempt; the boot that it ends carries it in the domain's metadata."),
    request: restartRequest.describe("The request that it serves."),
    mode: restartMode.describe("The mode in force: the request's, or the policy's."),
    stage: z.enum(restartStages).describe("What it is doing."),
    stageStartedAt: timestamp.describe("When the stage began."),
    startedAt: timestamp.describe("When the attempt began."),
    recordedIn: z
      .enum(["Domain", "Status"])
      .optional()
      .describe(
        "Where the attempt is on record. Domain: in the domain's metadata. Status: only here. Absent: nowhere yet.",
      ),
    forcedBecause: z
      .string()
      .optional()
      .describe("Why it went over from asking the guest to cutting its power."),
    repairs,
  })
  .describe("The restart in flight.");
/** A restart in flight. */
export type RestartAttempt = z.output<typeof restartAttempt>;

/** A restart that has ended. */
export const restartRecord = z
  .object({
    id: z.string().optional().describe("The attempt's random name; absent when nothing was attempted."),
    request: restartRequest.describe("The request that was served."),
    result: z
      .enum(restartResults)
      .describe(
        "Succeeded: the old boot ended and a new one runs, proven. Failed: it did not, or not as it should: see reason. Skipped: nothing was done. " +
          "Unverified: what was seen proves neither; nothing more is done for this request.",
      ),
    method: z.enum(restartMethods).optional().describe(methodDescription),
    evidence: z
      .array(z.enum(restartEvidence))
      .describe(
        "What proves it. StopEvent: libvirt said that the domain stopped. DomainOff: it was seen to be off. " +
          "BootMarkGone: the running boot no longer carries the mark of the old one. RequestMarkSeen: it carries " +
          "the mark that only a later boot can have. DomainIDChanged: it runs under another ID. " +
          "DomainRecord: the domain's metadata says that the request was served. RebootEvent: libvirt said that the " +
          "guest rebooted in place after it had been asked. BootIDChanged: the guest agent tells another boot ID than " +
          "before. AgentReady: the guest agent of the new boot answers.",
      ),
    reason: z.string().describe("Why it ended so, as one word for programs."),
    message: z.string().max(longestMessage).describe("Why it ended so, in words for people."),
    forcedBecause: z.string().optional().describe("Why the power was cut although the guest had been asked."),
    repairs,
    startedAt: timestamp.describe("When the attempt began."),
    stoppedAt: timestamp.optional().describe("When the guest was down; absent where nobody saw it."),
    endedAt: timestamp.describe("When the result was known."),
    downtimeMilliseconds: z
      .int()
      .min(0)
      .optional()
      .describe(
        "From the guest's being down to its running again, in milliseconds; absent where nobody saw it go down.",
      ),
  })
  .describe("A restart that has ended.");
/** A restart that has ended. */
export type RestartRecord = z.output<typeof restartRecord>;
