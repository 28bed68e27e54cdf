import { ApiError, type ApiFailure, type ApiReason } from "./errors.ts";

/** A message of an API server is cut here: it may quote a whole object. */
const LONGEST_MESSAGE = 2048;

const REASONS: Readonly<Record<number, ApiReason>> = {
  400: "BadRequest",
  401: "Unauthorized",
  403: "Forbidden",
  404: "NotFound",
  405: "MethodNotAllowed",
  409: "Conflict",
  410: "Gone",
  422: "Invalid",
  429: "TooManyRequests",
  500: "InternalError",
  503: "ServiceUnavailable",
  504: "Timeout",
};

/** The Status object of the Kubernetes API, as far as it is read. */
interface Status {
  code?: unknown;
  reason?: unknown;
  message?: unknown;
  details?: { name?: unknown; kind?: unknown; retryAfterSeconds?: unknown };
}

/**
 * The error for an answer that is not a success.
 * @param request what was asked, such as "GET /api/v1/pods"
 * @param code the HTTP status code
 * @param body the parsed body, or undefined where it was not JSON: a proxy's own page is not quoted
 * @param retryAfter the Retry-After header
 */
export function apiError(request: string, code: number, body: unknown, retryAfter?: string): ApiError {
  const status: Status = isStatus(body) ? body : {};
  return new ApiError(request, {
    ...failureOf(status, code),
    retryAfterMs: retryAfterMs(retryAfter) ?? secondsToMs(status.details?.retryAfterSeconds),
  });
}

/** The error for a Status that came as an event of a watch. */
export function apiErrorOfEvent(request: string, object: unknown): ApiError {
  const status: Status = isStatus(object) ? object : {};
  const code = typeof status.code === "number" ? status.code : 500;
  return new ApiError(request, {
    ...failureOf(status, code),
    retryAfterMs: secondsToMs(status.details?.retryAfterSeconds),
  });
}

function failureOf(status: Status, code: number): ApiFailure {
  const { reason, message, details } = status;
  return {
    code,
    reason: typeof reason === "string" && reason !== "" ? reason : (REASONS[code] ?? "Unknown"),
    message: typeof message === "string" ? message.slice(0, LONGEST_MESSAGE) : "no further explanation",
    about: {
      name: typeof details?.name === "string" ? details.name : undefined,
      kind: typeof details?.kind === "string" ? details.kind : undefined,
    },
  };
}

function isStatus(body: unknown): body is Status {
  return typeof body === "object" && body !== null && "kind" in body && body.kind === "Status";
}

/** RFC 9110: a number of seconds or a date. */
function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d+$/.test(header)) return Number(header) * 1000;
  const dateMs = Date.parse(header);
  return Number.isNaN(dateMs) ? undefined : Math.max(0, dateMs - Date.now());
}

function secondsToMs(seconds: unknown): number | undefined {
  return typeof seconds === "number" && seconds > 0 ? seconds * 1000 : undefined;
}
