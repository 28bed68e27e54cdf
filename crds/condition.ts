import { z } from "zod";
import { timestamp } from "./timestamp.ts";

/** The conditions that the controller writes; it reads those of a newer one, too. */
export type ConditionType =
  | "Ready"
  | "Reconciling"
  | "Stalled"
  | "Bound"
  | "GuestReady"
  | "RestartRequired"
  | "VolumesDegraded";

/** Longest message of a condition and of a restart's record, in characters. */
export const longestMessage = 1024;

/** A condition as Kubernetes' API conventions define it. */
export const condition = z.object({
  type: z.string().min(1).max(316).describe("Which question this condition answers."),
  status: z.enum(["True", "False", "Unknown"]).describe("The answer."),
  observedGeneration: z.int().describe("metadata.generation that the answer is about."),
  lastTransitionTime: timestamp.describe("When the answer last changed."),
  reason: z.string().min(1).max(128).describe("The answer's cause, as one word for programs."),
  message: z.string().max(longestMessage).describe("The answer's cause, in words for people."),
});

/** A condition as Kubernetes' API conventions define it. */
export type Condition = z.output<typeof condition>;
