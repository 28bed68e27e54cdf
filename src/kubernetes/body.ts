import type { Readable } from "node:stream";
import { MalformedResponseError } from "./errors.ts";

/**
 * Reads a body to its end as text.
 * @param request what was asked, for the error
 * @param limitBytes a longer body is given up at once, as TooLarge: memory stays bounded
 */
export function readText(body: Readable, limitBytes: number, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    body.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length > limitBytes) {
        const problem = new MalformedResponseError(
          request,
          "TooLarge",
          `the answer is larger than ${limitBytes} bytes`,
        );
        reject(problem);
        body.destroy();
        return;
      }
      chunks.push(chunk);
    });
    body.on("error", reject);
    body.on("end", () => {
      const [only] = chunks;
      resolve((chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks)).toString("utf8"));
    });
  });
}

/** Parses JSON without quoting it in the error: a login page or a token must not reach a log. */
export function parseJson(text: string, request: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new MalformedResponseError(request, "NotJson", "the answer is not JSON; is this an API server?");
  }
}
