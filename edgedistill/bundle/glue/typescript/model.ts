/// <reference lib="esnext.disposable" preserve="true" />
/** A model of a bundle: checks, runs and closes one artifact. */

import { Bundle, type BundleReader } from "./bundle.ts";
import { ModelError, textOf } from "./errors.ts";
import type { Artifact, TensorSpec } from "./manifest.ts";
import { type Delegate, type Program, type Runtime, checkVersion } from "./runtime.ts";
import { type SelfTest, compareOutputs } from "./selfTest.ts";
import { type Tensors, checkInputs, knownType, zeros } from "./tensors.ts";

/** How a model is loaded. */
export interface LoadOptions {
  /** What runs the artifact. */
  readonly runtime: Runtime;
  /** Name of the artifact; by default the first of `ship.order` that `runtime` runs. */
  readonly artifact?: string;
  /** Threads that compute, 1 by default. */
  readonly threads?: number;
  /** What computes, by the runtime's name for it; the CPU by default. */
  readonly delegate?: string;
  /** The 32 bytes of an Ed25519 key; then the bundle must be signed by it, which is checked before all else. */
  readonly publicKey?: Uint8Array;
}

/** How a call may be cancelled. */
export interface CallOptions {
  /** Checked when the call's turn comes, before the input is prepared, and after the run, which goes to its end. */
  readonly signal?: AbortSignal;
}

/** What runs. */
export interface Info {
  readonly artifact: string;
  readonly runtime: string;
  readonly version: string;
  readonly delegate: Delegate;
  readonly threads: number;
}

/** A loaded artifact with its bundle, as `open` gives it. */
export interface Opened {
  readonly bundle: Bundle;
  readonly artifact: Artifact;
  readonly program: Program;
  readonly info: Info;
}

/** Check the manifest, the version of the runtime and the artifact's SHA-256, and open the artifact. */
export async function open(reader: BundleReader, options: LoadOptions): Promise<Opened> {
  const { runtime, threads = 1, delegate } = options;
  if (!Number.isInteger(threads) || threads < 1) {
    throw new ModelError("input", `found ${threads} threads, expected a whole number of at least 1`);
  }
  const bundle = await Bundle.open(reader, options.publicKey);
  const artifact = choose(bundle, runtime, options.artifact);
  checkVersion(runtime, artifact);
  const bytes = await bundle.read(artifact.name);
  const program = await guarded(`${artifact.name} cannot be opened`, () => runtime.open(bytes, threads, delegate));
  const { name, version } = runtime;
  const used = { delegate: program.delegate, threads: program.threads };
  return { bundle, artifact, program, info: { artifact: artifact.name, runtime: name, version, ...used } };
}

/** A model that takes and gives named tensors. Calls at the same time wait for each other. */
export class Model implements AsyncDisposable {
  /** Which artifact runs, and what runs it. */
  readonly info: Info;
  /** What `run` takes. */
  readonly inputs: readonly TensorSpec[];
  /** What `run` gives. */
  readonly outputs: readonly TensorSpec[];
  protected readonly opened: Opened;
  #closed = false;
  #last: Promise<unknown> = Promise.resolve();

  protected constructor(opened: Opened) {
    this.opened = opened;
    this.info = opened.info;
    this.inputs = opened.artifact.inputs;
    this.outputs = opened.artifact.outputs;
  }

  /** Load a model. Only the manifest and the chosen artifact are read, and both are checked. Throws ModelError. */
  static async load(reader: BundleReader, options: LoadOptions): Promise<Model> {
    return new Model(await open(reader, options));
  }

  /** Run the artifact. tensors: all inputs by name, as `inputs` describes them. Gives all outputs by name. */
  run(tensors: Tensors, options: CallOptions = {}): Promise<Tensors> {
    return this.inTurn(() => this.runNow(() => tensors, options.signal));
  }

  /** Run `times` times on zeros or on `tensors`, because first runs are slower. */
  async warmUp(times = 3, tensors?: Tensors): Promise<void> {
    const given = tensors ?? Object.fromEntries(this.inputs.map((spec) => [spec.name, zerosOf(spec)]));
    for (let i = 0; i < times; i++) await this.run(given);
  }

  /** Run the golden samples of the bundle, and compare with what the artifact gave when the bundle was made. */
  async selfTest(options: CallOptions = {}): Promise<SelfTest> {
    return compareOutputs(this.opened, (tensors) => this.run(tensors, options));
  }

  /** Give the memory back, after the calls that were made before. Later calls throw ModelError of the kind closed. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#last;
    await guarded(`${this.info.artifact} cannot be closed`, () => this.opened.program.release());
  }

  /** `await using model = ...` closes it at the end of the block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Do `work` when the calls before are done. */
  protected inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed) {
      return Promise.reject(
        new ModelError("closed", `${this.info.artifact} was closed, expected an open model: load it again`),
      );
    }
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** Prepare the inputs and run, within `inTurn`. */
  protected async runNow(prepare: () => Tensors, signal: AbortSignal | undefined): Promise<Tensors> {
    checkSignal(signal);
    const tensors = prepare();
    checkInputs(tensors, this.inputs);
    const names = this.outputs.map((spec) => spec.name);
    const outputs = await guarded(`${this.info.artifact} failed`, () => this.opened.program.run(tensors, names));
    checkSignal(signal);
    return outputs;
  }
}

function choose(bundle: Bundle, runtime: Runtime, name: string | undefined): Artifact {
  const { artifacts, order } = bundle.manifest;
  const wanted = name === undefined ? order : [name];
  const named = wanted.flatMap((each) => artifacts.find((artifact) => artifact.name === each) ?? []);
  const chosen = named.find((artifact) => runtime.formats.includes(artifact.format));
  if (chosen !== undefined) return chosen;
  const found =
    named.map((artifact) => `${artifact.name} (${artifact.format})`).join(", ") || (name ? `no ${name}` : "none");
  const has =
    name !== undefined && named.length === 0 ? `; the bundle has ${artifacts.map((a) => a.name).join(", ")}` : "";
  const expected = `expected one of the formats ${runtime.formats.join(", ")} that ${runtime.name} runs`;
  throw new ModelError("no-artifact", `found ${found} to run, ${expected}${has}: take another bundle or artifact`);
}

function zerosOf(spec: TensorSpec) {
  const shape = spec.shape.map((size) => {
    if (typeof size === "number") return size;
    throw new ModelError(
      "input",
      `the size ${size} of input ${spec.name} varies, expected tensors to warm up with: give them`,
    );
  });
  return zeros(knownType(spec.dtype, `input ${spec.name}`), shape);
}

function checkSignal(signal: AbortSignal | undefined): void {
  if (!signal?.aborted) return;
  throw new ModelError("cancelled", `the call was cancelled (${textOf(signal.reason)})`, signal.reason);
}

/** Wrap what a runtime throws. */
async function guarded<T>(what: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof ModelError) throw error;
    throw new ModelError("runtime", `${what}: ${textOf(error)}`, error);
  }
}
