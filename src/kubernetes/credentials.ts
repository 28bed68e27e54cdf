import type { ConnectionOptions } from "node:tls";

/** Certificate authority, client certificate and key, server name, verification: as Node's TLS takes them. */
export type TlsMaterial = Pick<
  ConnectionOptions,
  "ca" | "cert" | "key" | "servername" | "rejectUnauthorized"
>;

/** How to open connections to the API server. Two that are deeply equal may share connections. */
export interface ConnectionMaterial {
  readonly tls: TlsMaterial;
  /** An HTTP proxy, as `proxy-url` of the kubeconfig names it; may contain a password. */
  readonly proxy?: string | undefined;
}

/** All that a request needs to be sent and to be believed. Secret: never logged, never in an error. */
export interface Authentication {
  readonly headers: Readonly<Record<string, string>>;
  readonly material: ConnectionMaterial;
}

/** Where the API server is and how to prove who asks. */
export interface Credentials {
  /** The API server's URL without a trailing slash, a query or credentials; fit for messages. */
  readonly server: string;
  /** The proxy in between, fit for messages. */
  readonly proxy?: string | undefined;
  /** The namespace of the context or of the service account, where there is one. */
  readonly namespace: string | undefined;
  /** What the next request is sent with. Cheap: asked for every request. Throws CredentialsError. */
  current(): Promise<Authentication>;
  /**
   * The API server did not believe the last answer of {@link current}: get a fresh one.
   * False if there is none to get, or one was got only just now: then asking again is useless.
   */
  renew(): Promise<boolean>;
}

/** The URL of a server as {@link Credentials.server} promises it. */
export function serverUrl(text: string): string {
  const url = new URL(text);
  return `${url.origin}${url.pathname}`.replace(/\/+$/, "");
}
