import type { Dispatcher } from "undici";
import { parseJson, readText } from "./body.ts";
import { MalformedResponseError } from "./errors.ts";
import { apiError } from "./status-response.ts";
import type { ApiError } from "./errors.ts";

/** The parameters of a URL's query; undefined ones are left out. */
export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

/** One HTTP request to the API server. */
export interface Call {
  method: Dispatcher.HttpMethod;
  /** Percent-encoded, from the API server's root. */
  path: string;
  query?: Query;
  /** Sent as JSON. */
  body?: unknown;
  /** Of the body; plain JSON by default. */
  contentType?: string;
}

/** An answer that says no is a Status object: anything larger is something else. */
const LARGEST_FAILURE_BYTES = 2 ** 20;

/** What a request is called in messages. The query is left out: it may hold a long continue token. */
export function describe(call: Call): string {
  return `${call.method} ${call.path}`;
}

/** The request as undici takes it. */
export function requestOptions(
  server: string,
  call: Call,
  headers: Readonly<Record<string, string>>,
): Dispatcher.RequestOptions & { origin: string } {
  const { origin, pathname } = new URL(server);
  return {
    origin,
    // An API server may live below a path, as behind a proxy of many clusters.
    path: `${pathname === "/" ? "" : pathname}${call.path}${queryString(call.query)}`,
    method: call.method,
    headers: {
      accept: "application/json",
      ...(call.body === undefined ? {} : { "content-type": call.contentType ?? "application/json" }),
      ...headers,
    },
    body: call.body === undefined ? null : JSON.stringify(call.body),
  };
}

/** The error for an answer that is not a success; reads its body, so that the connection can be used again. */
export async function failureOf(response: Dispatcher.ResponseData, request: string): Promise<ApiError> {
  const retryAfter = response.headers["retry-after"];
  let body: unknown;
  try {
    body = parseJson(await readText(response.body, LARGEST_FAILURE_BYTES, request), request);
  } catch (error) {
    // The status code says enough where a proxy answers with a page of its own.
    if (!(error instanceof MalformedResponseError)) throw error;
  }
  return apiError(request, response.statusCode, body, Array.isArray(retryAfter) ? retryAfter[0] : retryAfter);
}

function queryString(query: Query = {}): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  return parameters.size === 0 ? "" : `?${parameters.toString()}`;
}
