import { UnreachableError } from "./errors.ts";

/** The code of a request that got no answer in its time. */
export const DEADLINE_EXCEEDED = "DeadlineExceeded";

/** undici gives the errors of its HTTP parser a code or none; the class is one by name only. */
const NOT_HTTP = "HTTPParserError";

/** What a code means and what to do, in the words of someone who has to mend it. */
const EXPLANATIONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused; is it running, and is the address right?",
  ECONNRESET: "the connection was reset; it may be restarting",
  EPIPE: "the connection was closed; it may be restarting",
  ETIMEDOUT: "no answer to the connection; check the network and the firewall",
  EHOSTUNREACH: "no route to the host; check the network",
  ENETUNREACH: "no route to the network; check the network",
  ENOTFOUND: "the host name is not known; check the address and the DNS",
  EAI_AGAIN: "the host name could not be looked up for now; check the DNS",
  UND_ERR_CONNECT_TIMEOUT: "no answer to the connection; check the network and the firewall",
  UND_ERR_SOCKET: "the connection was closed; it may be restarting",
  UND_ERR_CLOSED: "this client has been closed",
  UND_ERR_DESTROYED: "this client has been closed",
  UND_ERR_PRX_CONN: "the proxy of the kubeconfig (proxy-url) could not be used",
  UND_ERR_PRX_TLS: "the proxy of the kubeconfig (proxy-url) could not be used",
  UND_ERR_ABORTED: "the proxy of the kubeconfig (proxy-url) refused the connection",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is not signed by the certificate authority of the kubeconfig",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate is not signed by the certificate authority of the kubeconfig",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    "its certificate is not signed by the certificate authority of the kubeconfig",
  UNABLE_TO_GET_ISSUER_CERT: "its certificate is not signed by the certificate authority of the kubeconfig",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    "its certificate is not signed by the certificate authority of the kubeconfig",
  CERT_SIGNATURE_FAILURE: "its certificate is not signed by the certificate authority of the kubeconfig",
  CERT_HAS_EXPIRED: "its certificate has expired",
  CERT_NOT_YET_VALID: "its certificate is not valid yet; check the clocks",
  ERR_TLS_CERT_ALTNAME_INVALID:
    "its certificate is for another name; check the address, or set tls-server-name",
  [NOT_HTTP]: "it does not speak HTTP; check the address and the port",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS; check the address, the port and https://",
  EPROTO: "TLS could not be agreed on; is it an https server?",
};

/**
 * Translates an error of Node or undici into an {@link UnreachableError}, by its code and never by its text.
 * @param server the API server's URL, without credentials
 */
export function unreachable(server: string, error: unknown): UnreachableError {
  const code = codeOf(error);
  // undici's parser quotes the answer in its error.
  return new UnreachableError(server, code, explain(code), code === NOT_HTTP ? undefined : error);
}

/** The error for a request that was given up because its time was over. */
export function deadlineExceeded(server: string, deadlineMs: number): UnreachableError {
  return new UnreachableError(server, DEADLINE_EXCEEDED, `no answer within ${deadlineMs} ms`);
}

function explain(code: string): string {
  const known = EXPLANATIONS[code];
  if (known !== undefined) return known;
  if (code.startsWith("ERR_SSL_") || code.startsWith("ERR_TLS_") || code.startsWith("ERR_OSSL_")) {
    return "TLS could not be agreed on; check the certificates and keys of the kubeconfig";
  }
  return "the request failed";
}

/** undici and Node wrap errors: the first code on the chain of causes is the one that counts. */
function codeOf(error: unknown): string {
  for (let each = error, depth = 0; each instanceof Error && depth < 5; each = each.cause, depth += 1) {
    if (each.name === NOT_HTTP) return NOT_HTTP;
    if ("code" in each && typeof each.code === "string") return each.code;
  }
  return "Unknown";
}
