/**
 * Restarts real guests on a real hypervisor through a real Kubernetes API, and shows how; and leaves one alone that
 * could not start again.
 *
 *     npm run demo              sets up, restarts, shows, removes
 *     npm run demo -- --keep    leaves it all up until Ctrl-C, and says how to play with it
 */
import assert from "node:assert/strict";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import type { Condition } from "../../crds/condition.ts";
import type { VirtualMachine } from "../../crds/virtual-machine.ts";
import { startApiServer, type ApiServer } from "../support/apiserver.ts";
import { startedController, type ControllerProcess } from "../support/controller.ts";
import { onInterruption } from "../support/interruption.ts";
import { onPath } from "../support/kube-binaries.ts";
import { kvmBoots } from "../support/kvm.ts";
import { startLibvirtd, type Libvirtd } from "../support/libvirtd.ts";
import { setUp } from "../support/setup.ts";
import { startGuest, type RunningGuest } from "../support/start-guest.ts";
import { installWarmboot, readVirtualMachine, waitForCondition, waitForStatus } from "../support/warmboot.ts";
import { bold, dim, duration, green, red, say, sayLast, step, transcript } from "./screen.ts";
import { manifest, scenarios, type Expected, type Scenario } from "./scenario.ts";
import { Timeline, type Seen } from "./timeline.ts";

const { values: options } = parseArgs({ options: { keep: { type: "boolean", default: false } } });
const beganAtMs = performance.now();

const parts = new AsyncDisposableStack();
const interrupted = Promise.withResolvers<void>();
onInterruption((exitCode) => {
  sayLast("\nInterrupted: removing what was started ...");
  process.exitCode = exitCode;
  interrupted.resolve();
});

try {
  // Whatever it waits for is abandoned when it is interrupted.
  await Promise.race([demo(), interrupted.promise]);
} catch (error) {
  // A Ctrl-C ends the commands that run, too, and their failure may be seen first.
  await new Promise(setImmediate);
  if (process.exitCode === undefined) {
    say(red(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}`));
    process.exitCode = 1;
  }
}
await parts.disposeAsync();
// Otherwise Node would wait for what was abandoned.
process.exit();

async function demo(): Promise<void> {
  await step("What is needed on this machine", () => setUp((line) => say(`    ${line}`)));
  const kvm = await step("Does a guest really boot on KVM here?", probeKvm);
  const api = parts.use(await step("A Kubernetes API server with an etcd of its own", startApiServer));
  const libvirtd = parts.use(await step("A private libvirtd; the host's own is not touched", startLibvirtd));
  const guests = await step("Five guests", () => startGuests(libvirtd, kvm));
  const kubeconfig = await step("The VirtualMachine definition, and the controller's rights", () =>
    install(api),
  );
  const launching = () => launch(kubeconfig, libvirtd);
  const controller = parts.use(await step("The controller, as a process of its own", launching));
  await step("Five VirtualMachine resources", () => createResources(api));
  const timeline = parts.use(new Timeline(controller, libvirtd.uri("qemu")));
  for (const [index, scenario] of scenarios.entries()) {
    const guest = guests[index];
    if (guest !== undefined) await perform(scenario, guest, { api, libvirtd, controller, timeline });
  }
  await results(api, timeline);
  say(
    green(
      `\nFour guests restarted as they should, and one was left running as it should, in ${duration(performance.now() - beganAtMs)} in all.`,
    ),
  );
  if (options.keep) await keep(api, libvirtd);
}

async function probeKvm(): Promise<boolean> {
  const boots = await kvmBoots();
  say(boots ? "    yes: the guests run on KVM" : "    no: the guests run in QEMU's own emulation");
  return boots;
}

function startGuests(libvirtd: Libvirtd, kvm: boolean): Promise<RunningGuest[]> {
  for (const { name, about } of scenarios) say(`    ${name.padEnd(10)} ${about}`);
  return Promise.all(
    scenarios.map(async ({ name, behaviour, furnish }) =>
      startGuest(libvirtd, { name, behaviour, kvm, ...(await furnish?.(libvirtd)) }),
    ),
  );
}

function install(api: ApiServer): Promise<string> {
  return installWarmboot(api, (file, output) => transcript(`kubectl apply -f ${file}`, output));
}

function launch(kubeconfig: string, libvirtd: Libvirtd): Promise<ControllerProcess> {
  say(dim(`    npm start -- --connect '${libvirtd.uri("qemu")}'`));
  return startedController(kubeconfig, libvirtd.uri("qemu"));
}

async function createResources(api: ApiServer): Promise<void> {
  await api.apply(scenarios.map((scenario) => manifest(scenario, 1)).join("\n"));
  for (const { name } of scenarios) await waitForCondition(api, name, "Ready");
  transcript("kubectl get virtualmachines", await api.kubectl("get", "virtualmachines"));
}

/** What an act of the demo is performed with. */
interface Stage {
  api: ApiServer;
  libvirtd: Libvirtd;
  controller: ControllerProcess;
  timeline: Timeline;
}

/** Takes away what a guest needs, where its act is about that, and requests its restart. */
async function perform(scenario: Scenario, guest: RunningGuest, stage: Stage): Promise<void> {
  const { name, about, takeAway, expected } = scenario;
  say(`\n${bold("==>")} Restart ${bold(name)}, which ${about}`);
  if (takeAway !== undefined) say(dim(`    ${await takeAway(stage.libvirtd)}`));
  if (expected.outcome === "Restarted") await restart(scenario, expected, guest, stage);
  else await refuse(scenario, expected, guest, stage);
}

/** Requests a restart that cannot be done, and sees that the guest is left alone. */
async function refuse(
  { name }: Scenario,
  { finding }: Expected & { outcome: "Refused" },
  guest: RunningGuest,
  { api, libvirtd, timeline }: Stage,
): Promise<void> {
  const token = new Date().toISOString();
  timeline.requested(name, `kubectl annotate wvm ${name} warmboot.dev/restart=${token}`);
  await api.kubectl("annotate", "wvm", name, `warmboot.dev/restart=${token}`);
  await waitForCondition(api, name, "Stalled");
  const { findings = [], domain } = (await readVirtualMachine(api, name)).status;
  const [first] = findings;
  timeline.told(name, `Stalled: ${first?.reason}: ${first?.message}; ${first?.remedy}`);
  assert.match(first?.message ?? "", finding, `${name}: ${JSON.stringify(findings)}`);
  assert.equal(domain?.state, "Running", `${name} is ${domain?.state}`);
  assert.equal(await libvirtd.virsh("domstate", name).then((state) => state.trim()), "running");
  assert.equal((await guest.boots()).length, 1, `${name} booted again`);
  timeline.note(name, "still runs, in its first boot");
}

/** Requests one restart as users do, waits as users do, and asks the guest itself. */
async function restart(
  scenario: Scenario,
  expected: Expected & { outcome: "Restarted" },
  guest: RunningGuest,
  { api, controller, timeline }: Stage,
): Promise<void> {
  const { name, trigger } = scenario;
  if (trigger === "Annotation") {
    const token = new Date().toISOString();
    timeline.requested(name, `kubectl annotate wvm ${name} warmboot.dev/restart=${token}`);
    await api.kubectl("annotate", "wvm", name, `warmboot.dev/restart=${token}`);
    await ended(controller, name);
    await waitForStatus(api, name, "observedRestartToken", token);
  } else {
    timeline.requested(name, `kubectl apply -f ${name}.yaml, with restartGeneration: 2`);
    await api.apply(manifest(scenario, 2));
    await ended(controller, name);
    await waitForStatus(api, name, "observedRestartGeneration", 2);
  }
  await guest.ready(2);
  const bootIds = await guest.boots();
  timeline.note(name, `booted anew: boot ${bootIds.map((id) => id.slice(0, 8)).join(", then boot ")}`);
  assertRestarted(name, expected, await readVirtualMachine(api, name), bootIds);
}

/** Waits without starting a process: kubectl's start would be in the way of what is measured on a small machine. */
async function ended(controller: ControllerProcess, machine: string): Promise<void> {
  await controller.logged(({ name, result }) => name === machine && result !== undefined);
}

/** The demo fails loudly where a guest did not restart as it should. */
function assertRestarted(
  name: string,
  expected: Expected & { outcome: "Restarted" },
  { status }: VirtualMachine,
  bootIds: string[],
): void {
  const { lastRestart } = status;
  assert.equal(lastRestart?.result, "Succeeded", `${name}: ${lastRestart?.result} (${lastRestart?.message})`);
  assert.equal(lastRestart.method, expected.method, `${name} was restarted by ${lastRestart.method}`);
  assert.equal(
    lastRestart.forcedBecause !== undefined,
    expected.forced,
    `${name}: ${lastRestart.forcedBecause}`,
  );
  assert.deepEqual(lastRestart.repairs, expected.repairs, `${name}: ${lastRestart.repairs?.join(", ")}`);
  assert.ok(lastRestart.evidence.includes("BootMarkGone"), `${name} has no proof of its restart`);
  assert.equal(new Set(bootIds).size, 2, `${name} booted ${bootIds.length} times and not twice`);
}

async function results(api: ApiServer, timeline: Timeline): Promise<void> {
  say(`\n${bold("==>")} What the user sees`);
  transcript("kubectl get virtualmachines", await api.kubectl("get", "virtualmachines"));
  for (const { name } of scenarios) {
    const { status } = await readVirtualMachine(api, name);
    say(`\n  ${bold(name)}`);
    for (const condition of status.conditions ?? []) say(`    ${describeCondition(condition)}`);
  }
  say();
  transcript("kubectl get events", await api.kubectl("get", "events", "--sort-by=.eventTime"));
  say(`\n${bold("==>")} What was measured`);
  for (const { name, policy, expected } of scenarios) {
    if (expected.outcome === "Restarted")
      say(`    ${name.padEnd(10)} ${measured(policy, expected, timeline.seen(name))}`);
  }
}

function describeCondition({ type, status, reason, message }: Condition): string {
  return `${type}=${status}  ${reason}: ${message}`;
}

function measured(
  policy: Scenario["policy"],
  expected: Expected & { outcome: "Restarted" },
  { offForMs, stoppedMs, startedMs, signalledMs }: Seen,
): string {
  const between = (from: number | undefined, to: number | undefined) =>
    from === undefined || to === undefined ? "unknown" : duration(to - from);
  const timeout = signalledMs === undefined ? undefined : signalledMs + policy.timeoutSeconds * 1000;
  return [
    `event that the guest is off to its start being asked for ${offForMs === undefined ? "unknown" : duration(offForMs)}`,
    `event Stopped to event Started ${between(stoppedMs, startedMs)}`,
    ...(expected.forced ? [`soft timeout to running again ${between(timeout, startedMs)}`] : []),
  ].join("; ");
}

async function keep(api: ApiServer, libvirtd: Libvirtd): Promise<void> {
  const commands = [
    // Where this machine had no kubectl, ours is in the cache.
    ...(onPath("kubectl") === api.kubectlPath ? [] : [`export PATH=${dirname(api.kubectlPath)}:$PATH`]),
    `export KUBECONFIG=${api.kubeconfig}`,
    "kubectl get virtualmachines --watch",
    "kubectl annotate wvm obeying --overwrite warmboot.dev/restart=$(date -Ins)",
    "kubectl annotate wvm deaf --overwrite warmboot.dev/restart-mode=Hard warmboot.dev/restart=$(date -Ins)",
    "kubectl describe wvm obeying",
    "kubectl explain virtualmachine.spec.restartPolicy",
    `virsh -c '${libvirtd.uri("qemu")}' list --all`,
  ];
  say("\nIt all stays up until Ctrl-C. In another terminal:\n");
  for (const command of commands) say(`  ${command}`);
  await interrupted.promise;
}
