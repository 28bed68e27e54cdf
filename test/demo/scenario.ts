import type { RestartMethod } from "../../crds/restart.ts";
import type { Behaviour } from "../support/guest.ts";
import { virtualMachine } from "../support/warmboot.ts";

/** How the demo asks for a restart. */
export type Trigger = "Annotation" | "Manifest";

/** One guest of the demo, and what its restart must come to. */
export interface Scenario {
  name: string;
  /** In words, for the reader. */
  about: string;
  behaviour: Behaviour;
  trigger: Trigger;
  policy: { timeoutSeconds: number; resendSeconds: number };
  expected: { method: RestartMethod; forced: boolean };
}

/** The demo, in order. */
export const scenarios: readonly Scenario[] = [
  {
    name: "obeying",
    about: "shuts down when its power button is pressed",
    behaviour: "obey",
    trigger: "Annotation",
    policy: { timeoutSeconds: 30, resendSeconds: 10 },
    expected: { method: "Soft", forced: false },
  },
  {
    name: "deaf",
    about: "ignores the button: it is power-cycled when its 5 s are over",
    behaviour: "deaf",
    trigger: "Manifest",
    policy: { timeoutSeconds: 5, resendSeconds: 2 },
    expected: { method: "Hard", forced: true },
  },
  {
    name: "rebooting",
    about: "answers the button by rebooting itself: one restart, not two",
    behaviour: "reboot",
    trigger: "Annotation",
    policy: { timeoutSeconds: 30, resendSeconds: 10 },
    expected: { method: "Soft", forced: false },
  },
];

/** The VirtualMachine of a scenario, as its user applies it. */
export function manifest({ name, policy }: Scenario, restartGeneration: number): string {
  return virtualMachine(name, { restartGeneration, restartPolicy: { mode: "Auto", soft: policy } });
}
