import { readFile } from "node:fs/promises";
import type { VirtualMachine, VirtualMachineStatus } from "../../crds/virtual-machine.ts";
import type { ApiServer } from "./apiserver.ts";

/** What an administrator applies, from the project's root. */
const manifests = ["crds/virtualmachines.warmboot.dev.yaml", "deploy/rbac.yaml"] as const;

/** Applies one of them as it is checked in; resolves to what kubectl printed. */
export async function applyManifest(api: ApiServer, file: (typeof manifests)[number]): Promise<string> {
  return api.apply(await readFile(new URL(`../../${file}`, import.meta.url), "utf8"));
}

/**
 * Installs the definitions and the rights, and resolves to a kubeconfig with the controller's own identity.
 * `told` hears what kubectl printed of each.
 */
export async function installWarmboot(
  api: ApiServer,
  told: (file: string, output: string) => void = () => {},
): Promise<string> {
  for (const file of manifests) told(file, await applyManifest(api, file));
  await api.kubectl("wait", "--for=condition=Established", "crd/virtualmachines.warmboot.dev");
  return api.kubeconfigFor(await api.serviceAccountToken("warmboot", "warmboot"));
}

/** The manifest of a VirtualMachine. */
export function virtualMachine(name: string, spec: Record<string, unknown> = {}): string {
  return JSON.stringify({
    apiVersion: "warmboot.dev/v1alpha1",
    kind: "VirtualMachine",
    metadata: { name },
    spec,
  });
}

/** Reads a VirtualMachine by kubectl. */
export async function readVirtualMachine(api: ApiServer, name: string): Promise<VirtualMachine> {
  return JSON.parse(await api.kubectl("get", "wvm", name, "-o", "json")) as VirtualMachine;
}

/** A policy with which nothing but what is asked for ends a guest's boot, however slow it is. */
export const patient = { soft: { timeoutSeconds: 3600, resendSeconds: 3600 } };

/** Longer than anything that a test waits for takes on a busy machine without KVM. */
const timeout = "--timeout=120s";

/** Waits as a user does until a condition is what it says, such as "Ready" or "Stalled=True". */
export async function waitForCondition(api: ApiServer, name: string, condition: string): Promise<void> {
  await api.kubectl("wait", "wvm", name, `--for=condition=${condition}`, timeout);
}

/** Waits as a user does until a field of the status has a value. */
export async function waitForStatus(
  api: ApiServer,
  name: string,
  field: string,
  value: string | number,
): Promise<void> {
  await api.kubectl("wait", "wvm", name, `--for=jsonpath={.status.${field}}=${value}`, timeout);
}

/** Requests a restart by annotation, waits until it has ended, and resolves to the status. */
export async function restartByAnnotation(
  api: ApiServer,
  name: string,
  mode?: string,
): Promise<VirtualMachineStatus> {
  const token = new Date().toISOString();
  const annotations = [
    `warmboot.dev/restart=${token}`,
    `warmboot.dev/restart-mode${mode === undefined ? "-" : `=${mode}`}`,
  ];
  await api.kubectl("annotate", "wvm", name, "--overwrite", ...annotations);
  await waitForStatus(api, name, "observedRestartToken", token);
  return (await readVirtualMachine(api, name)).status;
}
