import { subscribe } from "node:diagnostics_channel";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Where a test says what is to happen: NAME=kill, NAME=stop or NAME=wait at the first passage of a point, NAME#3=kill at
 * the third; or =list, which names each passage.
 */
const variable = "WARMBOOT_FAILPOINT";
/** The directory that a test has made for it. */
const directoryVariable = "WARMBOOT_FAILPOINT_DIRECTORY";

/** Names in that directory. */
export const failpointFiles = {
  /** Holds the process ID of this process's parent: what no administrator's shell or service manager has written there. */
  armedBy: "armed-by",
  /** With =list, a line for each passage, such as "libvirt/DOMAIN_SET_METADATA/sent#2". */
  passed: "passed",
  /** Is there once the point was reached. */
  at: "at",
  /** With =wait, a FIFO whose writer lets the process go on. */
  go: "go",
} as const;

type Fault = "kill" | "stop" | "wait";
type Plan = { kind: "List" } | { kind: "Fault"; point: string; passage: number; fault: Fault };

/** The variable is set where no test runs, or to something that it cannot mean. The message says which. */
export class FailpointError extends Error {}

/**
 * Makes this process die, stop or wait at a named point, as the tests of crashes ask for. Does nothing where the variable
 * is not set, and throws a FailpointError where it is and the parent of this process has not said that it is a test.
 */
export function armFailpoints(env: NodeJS.ProcessEnv, parentPid: number): void {
  const text = env[variable];
  if (text === undefined) return;
  const directory = env[directoryVariable];
  if (directory === undefined || armedBy(directory) !== parentPid) {
    throw new FailpointError(
      `${variable} is set, which makes the program end at a point of your choice: it is for its own tests alone. Unset it`,
    );
  }
  const passages = new Map<string, number>();
  const plan = readPlan(text);
  followSteps((point) => {
    const passage = (passages.get(point) ?? 0) + 1;
    passages.set(point, passage);
    if (plan.kind === "List") appendFileSync(join(directory, failpointFiles.passed), `${point}#${passage}\n`);
    else if (plan.point === point && plan.passage === passage) strike(plan.fault, directory);
  });
}

function armedBy(directory: string): number | undefined {
  try {
    return Number(readFileSync(join(directory, failpointFiles.armedBy), "utf8"));
  } catch {
    return undefined;
  }
}

function readPlan(text: string): Plan {
  if (text === "=list") return { kind: "List" };
  const match = /^(?<point>[^#=]+)(?:#(?<passage>[1-9]\d*))?=(?<fault>kill|stop|wait)$/.exec(text);
  if (match?.groups === undefined)
    throw new FailpointError(`${variable} is "${text}", not =list, NAME=kill, NAME#2=stop or NAME=wait`);
  const { point = "", passage = "1", fault } = match.groups;
  return { kind: "Fault", point, passage: Number(passage), fault: fault as Fault };
}

function strike(fault: Fault, directory: string): void {
  writeFileSync(join(directory, failpointFiles.at), "");
  if (fault === "wait") readFileSync(join(directory, failpointFiles.go));
  else process.kill(process.pid, fault === "kill" ? "SIGKILL" : "SIGSTOP");
}

/** Where a request to the API server is, by the channels on which undici tells of it. */
const requestSteps = { create: "begin", bodySent: "sent", headers: "reply", trailers: "read" } as const;

/** Names of the points are a public matter of the tests: NAME in the variable, and in what `npm run faults` prints. */
function followSteps(pass: (point: string) => void): void {
  subscribe("warmboot:step", (message) => pass(message as string));
  subscribe("libvirt:call", (message) => {
    const { procedure, step } = message as { procedure: string; step: string };
    pass(`libvirt/${procedure}/${step}`);
  });
  for (const [channel, step] of Object.entries(requestSteps)) {
    subscribe(`undici:request:${channel}`, (message) => {
      const { request } = message as { request: { method: string; path: string } };
      pass(`kubernetes/${nameOfRequest(request)}/${step}`);
    });
  }
}

/** Such as "PUT/virtualmachines/status": the method, the resource and its subresource. */
function nameOfRequest({ method, path }: { method: string; path: string }): string {
  const [resource = "", query = ""] = path.split("?");
  const parts =
    /^\/apis?\/(?:[^/]+\/)?v\w+\/(?:namespaces\/[^/]+\/)?(?<plural>[^/]+)(?:\/[^/]+)?(?<sub>\/\w+)?$/;
  const { plural = resource, sub = "" } = parts.exec(resource)?.groups ?? {};
  return `${query.includes("watch=true") ? "WATCH" : method}/${plural}${sub}`;
}
