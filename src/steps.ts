import { channel } from "node:diagnostics_channel";

const steps = channel("warmboot:step");

/**
 * Names a step between the calls that the program makes, such as "pass/begin". Costs nothing unless somebody listens,
 * and nobody but the tests does: see failpoints.ts.
 */
export function passed(point: string): void {
  steps.publish(point);
}
