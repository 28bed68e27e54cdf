import type { LogFn } from "pino";
import { ApiError, isTranslated } from "./kubernetes/errors.ts";
import type { ObjectReference } from "./kubernetes/resource.ts";

/** What was to be done when the API server said no, or nothing, and what happens next. */
export interface ApiFailure {
  /** Such as "a status could not be written". */
  what: string;
  error: unknown;
  /** Until it is tried again, in milliseconds; undefined where it is not, or not at a known time. */
  retryInMs?: number | undefined;
  /** The resource that it is about. */
  about?: ObjectReference;
}

/**
 * Logs a failed request as one line that says what is wrong and what to do. Only an error of this program's own
 * comes with its stack.
 */
export function logApiFailure(log: LogFn, { what, error, retryInMs, about }: ApiFailure): void {
  const retry = retryInMs === undefined ? "" : `; trying again in ${(retryInMs / 1000).toFixed(1)} s`;
  if (isTranslated(error)) log({ ...about }, `${what}: ${problemOf(error)}${retry}`);
  else log({ ...about, err: error }, `${what}${retry}`);
}

/** What is wrong and what to do, in one line. */
export function problemOf(error: unknown): string {
  if (!(error instanceof ApiError)) return error instanceof Error ? error.message : String(error);
  switch (error.code) {
    case 401:
      return (
        "the API server does not accept this identity (401 Unauthorized): renew the token or the certificate of " +
        "the kubeconfig; for the ServiceAccount of deploy/rbac.yaml, kubectl create token warmboot -n warmboot"
      );
    case 403:
      return (
        `${error.explanation} (403 Forbidden): kubectl apply -f deploy/rbac.yaml grants what is needed to the ` +
        "ServiceAccount warmboot; another identity needs its ClusterRole, too"
      );
    case 404:
      return `${error.message}; is the definition there? kubectl apply -f crds/virtualmachines.warmboot.dev.yaml`;
    default:
      return error.message;
  }
}
