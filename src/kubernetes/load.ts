import type { Credentials } from "./credentials.ts";
import { CredentialsError } from "./errors.ts";
import { inClusterCredentials } from "./in-cluster.ts";
import { type KubeconfigChoice, kubeconfigCredentials, kubeconfigFiles } from "./kubeconfig.ts";

/**
 * The credentials of the kubeconfig that is named, else of those in KUBECONFIG, else of
 * ~/.kube/config, else of the pod that this process runs in. Throws {@link CredentialsError}.
 */
export async function loadCredentials(
  choice: KubeconfigChoice = {},
  environment: NodeJS.ProcessEnv = process.env,
): Promise<Credentials> {
  const files = await kubeconfigFiles(choice, environment);
  if (files !== undefined) return kubeconfigCredentials(files, choice.context);
  const inCluster = await inClusterCredentials(environment);
  if (inCluster !== undefined) return inCluster;
  throw new CredentialsError(
    "no kubeconfig was found, and this process does not run in a cluster: " +
      "name one by --kubeconfig, set KUBECONFIG, or write ~/.kube/config",
  );
}
