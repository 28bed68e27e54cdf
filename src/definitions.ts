import type { Logger } from "pino";
import type { Definition, Key } from "../controller/ports.ts";
import { definitionLabel, longestDefinition } from "../crds/machine.ts";
import { logApiFailure, problemOf } from "./api-failure.ts";
import type { KubernetesClient } from "./kubernetes/client.ts";
import type { Clock } from "./kubernetes/clock.ts";
import { ApiError } from "./kubernetes/errors.ts";
import { Reflector } from "./kubernetes/reflector.ts";
import { keyOf, parseKey, type KubernetesObject, type ResourceType } from "./kubernetes/resource.ts";

const configMapResource: ResourceType = { group: "", version: "v1", kind: "ConfigMap", plural: "configmaps" };

/** A ConfigMap can have a MiB, and a page of them must not be larger than the client takes. */
const pageSize = 50;

/** The ConfigMap of which {@link Definitions.find} may answer something else now, or all of them. */
export type ChangedDefinitions = { configMap: Key } | "All";

/** What the definitions are read with. */
export interface DefinitionsOptions {
  client: KubernetesClient;
  /** Only this namespace; without it, all. */
  namespace?: string | undefined;
  log: Logger;
  onChange: (changed: ChangedDefinitions) => void;
  clock?: Clock;
}

/** Where a definition is. */
export interface DefinitionReference {
  /** `namespace/name` of the ConfigMap. */
  configMap: Key;
  /** Which of its values is the domain XML. */
  key: string;
}

/** A value of a ConfigMap, as far as it can be a definition. */
type Value = { kind: "Text"; text: string } | { kind: "TooLong"; length: number } | { kind: "Binary" };

/** What is kept of a ConfigMap. */
interface ConfigMap extends KubernetesObject {
  values: ReadonlyMap<string, Value>;
}

/**
 * The domain XML in the ConfigMaps that carry the definition's label: a watched copy of them, and of no other ConfigMap.
 *
 * Those to which no VirtualMachine refers are kept, too. Who labels a ConfigMap means it to be referred to, the label and
 * the reference arrive in any order, and one that had been dropped would have to be asked for again in the middle of a
 * pass. At the worst each takes the MiB that a ConfigMap can hold.
 *
 * Machines without such a reference must work where the rights are those of an older version: that ConfigMaps cannot be
 * read is logged, once for each reason, and told by what find() answers.
 */
export class Definitions {
  readonly #options: DefinitionsOptions;
  readonly #reflector: Reflector<ConfigMap>;
  readonly #tried = Promise.withResolvers<void>();
  /** Why ConfigMaps cannot be read, as it was logged last; undefined while they can. */
  #problem: string | undefined;
  /** The same where it is the controller's rights: what was read before they were taken away counts for nothing. */
  #forbidden: string | undefined;

  constructor(options: DefinitionsOptions) {
    this.#options = options;
    const { client, namespace, onChange, clock } = options;
    this.#reflector = new Reflector<ConfigMap>({
      client,
      type: configMapResource,
      namespace,
      labelSelector: definitionLabel,
      pageSize,
      trim,
      onEvent: (event) => {
        if (event.type !== "Modified" || !hasSameValues(event.object, event.previous))
          onChange({ configMap: keyOf(event.object) });
      },
      onSync: () => {
        this.#tried.resolve();
        // What was "not read yet" is known to be there, or not, from now on.
        onChange("All");
      },
      onWatch: () => this.#recovered(),
      onError: (error) => this.#failed(error),
      ...(clock === undefined ? {} : { clock }),
    });
  }

  /** Reads and watches until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#reflector.run(signal);
  }

  /** Resolves once the ConfigMaps have been read, or once that has failed for the first time. Never rejects. */
  async tried(): Promise<void> {
    await this.#tried.promise;
  }

  /** How many ConfigMaps are kept. */
  get size(): number {
    return this.#reflector.store.size;
  }

  /** The definition at a place, or what to do so that there is one. */
  find({ configMap, key }: DefinitionReference): Definition {
    if (this.#forbidden !== undefined)
      return unavailable(`its ConfigMap may not be read: ${this.#forbidden}`);
    if (!this.#reflector.hasSynced) return unavailable("the ConfigMaps are not read yet");
    const found = this.#reflector.store.get(configMap);
    return found === undefined ? noConfigMap(configMap) : definitionIn(found, key);
  }

  #failed(error: unknown): void {
    const { log, onChange } = this.#options;
    this.#tried.resolve();
    const problem = problemOf(error);
    if (problem === this.#problem) return;
    this.#problem = problem;
    const what = `ConfigMaps with the label ${definitionLabel} cannot be read; machines without configMapKeyRef need none`;
    logApiFailure(log.warn.bind(log), { what, error });
    if (!(error instanceof ApiError) || error.code !== 403) return;
    this.#forbidden = problem;
    onChange("All");
  }

  #recovered(): void {
    const { log, onChange } = this.#options;
    if (this.#problem === undefined) return;
    this.#problem = undefined;
    log.info(`ConfigMaps with the label ${definitionLabel} are read`);
    if (this.#forbidden === undefined) return;
    this.#forbidden = undefined;
    onChange("All");
  }
}

function trim({ metadata, ...rest }: KubernetesObject & { data?: unknown; binaryData?: unknown }): ConfigMap {
  const { namespace, name, uid, resourceVersion } = metadata;
  const texts = Object.entries(rest.data ?? {}).map(([key, text]): [string, Value] => [key, valueOf(text)]);
  const binaries = Object.keys(rest.binaryData ?? {}).map((key): [string, Value] => [
    key,
    { kind: "Binary" },
  ]);
  return { metadata: { namespace, name, uid, resourceVersion }, values: new Map([...texts, ...binaries]) };
}

function valueOf(data: unknown): Value {
  const text = String(data);
  return text.length > longestDefinition ? { kind: "TooLong", length: text.length } : { kind: "Text", text };
}

function hasSameValues({ values }: ConfigMap, { values: before }: ConfigMap): boolean {
  return values.size === before.size && [...values].every(([key, value]) => isSame(value, before.get(key)));
}

function isSame(one: Value, other: Value | undefined): boolean {
  if (one.kind === "Text") return other?.kind === "Text" && one.text === other.text;
  if (one.kind === "TooLong") return other?.kind === "TooLong" && one.length === other.length;
  return other?.kind === one.kind;
}

function definitionIn({ metadata: { name }, values }: ConfigMap, key: string): Definition {
  const value = values.get(key);
  const which = `the key ${key} of the ConfigMap ${name}`;
  switch (value?.kind) {
    case undefined:
      return unavailable(`the ConfigMap ${name} has no key ${key}: add it, or correct configMapKeyRef.key`);
    case "Binary":
      return unavailable(`${which} is binary data: put the domain XML under data, as text in UTF-8`);
    case "TooLong":
      return unavailable(
        `${which} has ${value.length} characters: a definition may have at most ${longestDefinition}`,
      );
    case "Text":
      if (value.text.trim() === "") return unavailable(`${which} is empty: put the domain XML there`);
      return { kind: "Given", xml: value.text };
    default:
      return value satisfies never;
  }
}

/** One that has no label looks the same from here. */
function noConfigMap(key: Key): Definition {
  const { namespace, name } = parseKey(key);
  return unavailable(
    `there is no ConfigMap ${name} with the label ${definitionLabel} in the namespace ${namespace}: create it, or ` +
      `kubectl label configmap ${name} --namespace ${namespace} ${definitionLabel}=`,
  );
}

function unavailable(message: string): Definition {
  return { kind: "Unavailable", message };
}
