import { availableParallelism } from "node:os";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { startApiServer } from "../support/apiserver.ts";
import { temporaryDirectory } from "../support/temp-directory.ts";
import { installWarmboot } from "../support/warmboot.ts";
import { performCase, type Blow, type Outcome, type Parts } from "./case.ts";
import type { Path } from "./paths.ts";
import { Place, Resources } from "./place.ts";

/** One case of a matrix. */
export interface Job {
  path: Path;
  /** Without it, the points of the path are listed. */
  blow?: Blow | undefined;
}

/** A job with how it went. */
export interface Result extends Job {
  outcome: Outcome;
}

/** One API server for all cases, and as many places as cases happen at once. */
export class Matrix implements AsyncDisposable {
  readonly #parts: Parts;
  /** Those in which no case happens now. */
  readonly #free: Place[];
  readonly #waiting: ((place: Place) => void)[] = [];
  readonly #undo: AsyncDisposableStack;

  private constructor(parts: Parts, places: readonly Place[], undo: AsyncDisposableStack) {
    this.#parts = parts;
    this.#free = [...places];
    this.#undo = undo;
  }

  /** Starts the parts. They end with this process at the latest. */
  static async start(workers = availableParallelism() + 1): Promise<Matrix> {
    await using undo = new AsyncDisposableStack();
    // A process that starts compiles two hundred files: each but the first finds them compiled.
    const cache = join(temporaryDirectory(), "compiled");
    mkdirSync(cache);
    process.env["NODE_COMPILE_CACHE"] = cache;
    const api = undo.use(await startApiServer());
    const kubeconfig = await installWarmboot(api);
    const resources = undo.use(await Resources.of(api));
    const names = Array.from({ length: workers }, (_, index) => `worker-${index + 1}`);
    const places = await Promise.all(
      names.map(async (name) => undo.use(await Place.start(api, resources, name))),
    );
    return new Matrix({ api, kubeconfig }, places, undo.move());
  }

  /** Performs the jobs, several at once, and tells of each when it has ended. */
  async perform(jobs: readonly Job[], told: (result: Result) => void = () => {}): Promise<Result[]> {
    return Promise.all(
      jobs.map(async (job) => {
        const result = await this.performOne(job);
        told(result);
        return result;
      }),
    );
  }

  /** Performs one as soon as there is a place for it. */
  async performOne(job: Job): Promise<Result> {
    const place = this.#free.shift() ?? (await new Promise<Place>((resolve) => this.#waiting.push(resolve)));
    try {
      return { ...job, outcome: await performCase(this.#parts, place, job.path, job.blow) };
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(place);
      else next(place);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#undo.disposeAsync();
  }
}
