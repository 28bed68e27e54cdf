/**
 * The machine-readable reason of an API server's Status. The list is what this adapter's callers
 * act on; an API server may answer others.
 */
export type ApiReason =
  | "BadRequest"
  | "Unauthorized"
  | "Forbidden"
  | "NotFound"
  | "MethodNotAllowed"
  | "AlreadyExists"
  | "Conflict"
  | "Gone"
  | "Expired"
  | "Invalid"
  | "TooManyRequests"
  | "InternalError"
  | "ServiceUnavailable"
  | "Timeout"
  | (string & {});

/** What an {@link ApiError} is made of. */
export interface ApiFailure {
  /** The HTTP status code. */
  code: number;
  reason: ApiReason;
  message: string;
  /** How long the API server asks to be left alone. */
  retryAfterMs?: number | undefined;
  /** The object that the failure is about, where the API server names one. */
  about?: { name: string | undefined; kind: string | undefined } | undefined;
}

/** The API server answered, and said no. */
export class ApiError extends Error {
  /** The HTTP status code. */
  readonly code: number;
  readonly reason: ApiReason;
  /** How long the API server asks to be left alone, in milliseconds; the caller honours it. */
  readonly retryAfterMs: number | undefined;
  readonly about: ApiFailure["about"];
  /** What was asked, such as "PUT /apis/...". */
  readonly request: string;
  /** Private, so that a log does not show it beside the message. */
  readonly #explanation: string;

  constructor(request: string, failure: ApiFailure) {
    super(`${request}: ${failure.code} ${failure.reason}: ${failure.message}`);
    this.name = "ApiError";
    this.request = request;
    this.#explanation = failure.message;
    this.code = failure.code;
    this.reason = failure.reason;
    this.retryAfterMs = failure.retryAfterMs;
    this.about = failure.about;
  }

  /** What the API server says, without what this error's message adds. */
  get explanation(): string {
    return this.#explanation;
  }

  /** The resourceVersion or the continue token is too old: what was missed must be listed again. */
  get expired(): boolean {
    return this.code === 410 || this.reason === "Expired" || this.reason === "Gone";
  }
}

/** No answer came, or none in time. Whether the API server did what was asked is not known. */
export class UnreachableError extends Error {
  /** The API server's URL. */
  readonly server: string;
  /** An errno ("ECONNREFUSED"), a code of Node's TLS or of undici, or "DeadlineExceeded". */
  readonly code: string;

  constructor(server: string, code: string, explanation: string, cause?: unknown) {
    super(
      `cannot reach the Kubernetes API server at ${server}: ${explanation} (${code})`,
      cause === undefined ? undefined : { cause },
    );
    this.name = "UnreachableError";
    this.server = server;
    this.code = code;
  }
}

/** The answer was not what an API server says: too large, or not JSON. It is never quoted. */
export class MalformedResponseError extends Error {
  readonly request: string;
  readonly problem: "TooLarge" | "NotJson" | "UnexpectedShape";

  constructor(request: string, problem: MalformedResponseError["problem"], explanation: string) {
    super(`${request}: ${explanation}`);
    this.name = "MalformedResponseError";
    this.request = request;
    this.problem = problem;
  }
}

/**
 * The kubeconfig or its credentials cannot be used. There is no `cause` on purpose: the parsers of
 * YAML and JSON and the plugins quote what they choked on, which may be a token or a key.
 */
export class CredentialsError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CredentialsError";
  }
}

/** Whether an error is the API server's answer with this reason. */
export function hasReason(error: unknown, reason: ApiReason): error is ApiError {
  return error instanceof ApiError && error.reason === reason;
}

/** Whether an error is already one of this adapter's own, and needs no translation: its message is one line. */
export function isTranslated(
  error: unknown,
): error is ApiError | UnreachableError | MalformedResponseError | CredentialsError {
  return (
    error instanceof ApiError ||
    error instanceof UnreachableError ||
    error instanceof MalformedResponseError ||
    error instanceof CredentialsError
  );
}
