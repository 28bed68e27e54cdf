/**
 * Restarts three real guests on a real hypervisor through a real Kubernetes API, and shows how.
 *
 *     npm run demo              sets up, restarts, shows, removes
 *     npm run demo -- --keep    leaves it all up until Ctrl-C, and says how to play with it
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Condition } from "../../crds/condition.ts";
import type { VirtualMachine } from "../../crds/virtualmachine.ts";
import { startApiServer, type ApiServer } from "../support/apiserver.ts";
import { startController, type ControllerProcess } from "../support/controller.ts";
import { boots, defineGuest, guestReady } from "../support/guest.ts";
import { kvmBoots } from "../support/kvm.ts";
import { startLibvirtd, type Libvirtd } from "../support/libvirtd.ts";
import { setUp } from "../support/setup.ts";
import { bold, dim, duration, green, red, say, step, transcript } from "./screen.ts";
import { manifest, scenarios, type Scenario } from "./scenario.ts";
import { Timeline, type Seen } from "./timeline.ts";

/** Longer than any guest of the demo takes under emulation on a busy machine. */
const patienceSeconds = 120;

const { values: options } = parseArgs({ options: { keep: { type: "boolean", default: false } } });
const beganAtMs = performance.now();

await using parts = new AsyncDisposableStack();
const interrupted = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => interrupted.abort());

try {
  await demo();
} catch (error) {
  say(red(`\nThe demo failed: ${error instanceof Error ? error.message : String(error)}`));
  process.exitCode = 1;
}

async function demo(): Promise<void> {
  await step("What is needed on this machine", () => setUp((line) => say(`    ${line}`)));
  const kvm = await step("Does a guest really boot on KVM here?", async () => {
    const boots = await kvmBoots();
    say(
      boots
        ? "    yes: the guests run on KVM"
        : "    no: the guests run in QEMU's own emulation, which is slower",
    );
    return boots;
  });
  const api = parts.use(
    await step("A Kubernetes API server with an etcd of its own", () => startApiServer()),
  );
  const libvirtd = parts.use(
    await step("A private libvirtd; the host's own is not touched", () => startLibvirtd()),
  );
  await step("Three guests", () => startGuests(libvirtd, kvm));
  await step("The VirtualMachine resource definition, and an identity with the least rights", () =>
    install(api),
  );
  const controller = parts.use(
    await step("The controller, as a process of its own", () => launch(api, libvirtd)),
  );
  await step("Three VirtualMachine resources", async () => {
    await api.apply(scenarios.map((scenario) => manifest(scenario, 1)).join("---\n"));
    await api.kubectl("wait", "wvm", "--all", "--for=condition=Ready", `--timeout=${patienceSeconds}s`);
    transcript("kubectl get virtualmachines", await api.kubectl("get", "virtualmachines"));
  });
  const timeline = parts.use(new Timeline(controller, libvirtd.uri("qemu")));
  for (const scenario of scenarios) await restart(scenario, api, libvirtd, timeline);
  await results(api, timeline);
  say(
    green(
      `\nAll three guests restarted as they should, in ${duration(performance.now() - beganAtMs)} in all.`,
    ),
  );
  if (options.keep) await keep(api, libvirtd);
}

function serialLog(libvirtd: Libvirtd, name: string): string {
  return join(libvirtd.directory, `${name}.log`);
}

async function startGuests(libvirtd: Libvirtd, kvm: boolean): Promise<void> {
  for (const { name, about } of scenarios) say(`    ${name.padEnd(10)} ${about}`);
  await Promise.all(
    scenarios.map(async ({ name, behaviour }) => {
      await defineGuest(libvirtd, { name, behaviour, serialLog: serialLog(libvirtd, name), kvm });
      await libvirtd.virsh("start", name);
      await guestReady(serialLog(libvirtd, name));
    }),
  );
}

async function install(api: ApiServer): Promise<void> {
  for (const file of ["crds/virtualmachines.warmboot.dev.yaml", "deploy/rbac.yaml"]) {
    const path = new URL(`../../${file}`, import.meta.url);
    transcript(`kubectl apply -f ${file}`, await api.apply(await readFile(path, "utf8")));
  }
  await api.kubectl("wait", "--for=condition=Established", "crd/virtualmachines.warmboot.dev");
}

async function launch(api: ApiServer, libvirtd: Libvirtd): Promise<ControllerProcess> {
  const kubeconfig = await api.kubeconfigFor(await api.serviceAccountToken("warmboot", "warmboot"));
  say(dim(`    npm start -- --connect '${libvirtd.uri("qemu")}'`));
  const controller = startController(kubeconfig, "--connect", libvirtd.uri("qemu"));
  await controller.logged(({ msg }) => msg === "ready");
  return controller;
}

/** Requests one restart as users do, waits as users do, and looks at the guest itself. */
async function restart(
  scenario: Scenario,
  api: ApiServer,
  libvirtd: Libvirtd,
  timeline: Timeline,
): Promise<void> {
  interrupted.signal.throwIfAborted();
  const { name, about, trigger } = scenario;
  say(`\n${bold("==>")} Restart ${bold(name)}, which ${about}`);
  const log = serialLog(libvirtd, name);
  if (trigger === "Annotation") {
    const token = new Date().toISOString();
    timeline.requested(name, `kubectl annotate wvm ${name} warmboot.dev/restart=${token}`);
    await api.kubectl("annotate", "wvm", name, `warmboot.dev/restart=${token}`);
    await waitFor(api, name, `{.status.observedRestartToken}=${token}`);
  } else {
    timeline.requested(name, "kubectl apply -f manifest.yaml, with restartGeneration: 2");
    await api.apply(manifest(scenario, 2));
    await waitFor(api, name, "{.status.observedRestartGeneration}=2");
  }
  await guestReady(log, 2);
  timeline.note(name, `booted anew: boot ${boots(log).join(", then boot ")}`);
  assertRestarted(scenario, await read(api, name), boots(log));
}

async function waitFor(api: ApiServer, name: string, jsonPath: string): Promise<void> {
  await api.kubectl("wait", "wvm", name, `--for=jsonpath=${jsonPath}`, `--timeout=${patienceSeconds}s`);
}

async function read(api: ApiServer, name: string): Promise<VirtualMachine> {
  return JSON.parse(await api.kubectl("get", "wvm", name, "-o", "json")) as VirtualMachine;
}

/** The demo fails loudly where a guest did not restart as it should. */
function assertRestarted({ name, expected }: Scenario, { status }: VirtualMachine, bootIds: string[]): void {
  const { lastRestart } = status;
  assert.equal(lastRestart?.result, "Succeeded", `${name}: ${lastRestart?.result} (${lastRestart?.message})`);
  assert.equal(lastRestart.method, expected.method, `${name} was restarted by ${lastRestart.method}`);
  assert.equal(
    lastRestart.forcedBecause !== undefined,
    expected.forced,
    `${name}: ${lastRestart.forcedBecause}`,
  );
  assert.ok(lastRestart.evidence.includes("BootMarkGone"), `${name} has no proof of its restart`);
  assert.equal(new Set(bootIds).size, 2, `${name} booted ${bootIds.length} times and not twice`);
}

async function results(api: ApiServer, timeline: Timeline): Promise<void> {
  say(`\n${bold("==>")} What the user sees`);
  transcript("kubectl get virtualmachines", await api.kubectl("get", "virtualmachines"));
  for (const { name } of scenarios) {
    const { status } = await read(api, name);
    say(`\n  ${bold(name)}: ${status.lastRestart?.message}`);
    for (const condition of status.conditions ?? []) say(`    ${describeCondition(condition)}`);
  }
  transcript("kubectl get events", await api.kubectl("get", "events", "--sort-by=.eventTime"));
  say(`\n${bold("==>")} What was measured, from libvirt's events`);
  for (const scenario of scenarios)
    say(`    ${scenario.name.padEnd(10)} ${measured(scenario, timeline.seen(scenario.name))}`);
}

function describeCondition({ type, status, reason, message }: Condition): string {
  return `${type}=${status}  ${reason}: ${message}`;
}

function measured({ policy, expected }: Scenario, { offForMs, stoppedMs, startedMs }: Seen): string {
  const downtime =
    startedMs !== undefined && stoppedMs !== undefined ? duration(startedMs - stoppedMs) : "unknown";
  const reaction = offForMs === undefined ? "unknown" : duration(offForMs);
  const forced =
    expected.forced && startedMs !== undefined
      ? `, running again ${duration(startedMs - policy.timeoutSeconds * 1000)} after its soft timeout`
      : "";
  return `from off to the start's being asked for ${reaction}; from event Stopped to event Started ${downtime}${forced}`;
}

async function keep(api: ApiServer, libvirtd: Libvirtd): Promise<void> {
  say(`\nIt all stays up until Ctrl-C. In another terminal:

  export KUBECONFIG=${api.kubeconfig}
  kubectl get virtualmachines --watch
  kubectl annotate wvm obeying --overwrite warmboot.dev/restart=$(date -Ins)
  kubectl annotate wvm deaf --overwrite warmboot.dev/restart-mode=Hard warmboot.dev/restart=$(date -Ins)
  kubectl describe wvm obeying
  kubectl explain virtualmachine.spec.restartPolicy
  virsh -c '${libvirtd.uri("qemu")}' list --all`);
  if (!interrupted.signal.aborted) await once(interrupted.signal, "abort");
}
