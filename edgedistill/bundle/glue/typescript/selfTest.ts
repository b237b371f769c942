/** Compares what an artifact gives here with what it gave when the bundle was made. */

import type { Bundle } from "./bundle.ts";
import { ModelError } from "./errors.ts";
import type { TensorSpec } from "./manifest.ts";
import type { Opened } from "./model.ts";
import { type Tensor, type Tensors, parseNpy, product, sample } from "./tensors.ts";

/** The largest difference of one output. */
export interface OutputTest {
  readonly name: string;
  /** Largest |found - expected| of all samples, in the output's unit; NaN where a number is not finite. */
  readonly largestDifference: number;
  /** What it may be. */
  readonly tolerance: number;
  /** Index of the sample with the largest difference. */
  readonly worstSample: number;
}

/** The result of a self-test. */
export interface SelfTest {
  /** Whether something was compared, and everything is within its tolerance. */
  readonly ok: boolean;
  readonly artifact: string;
  /** Name and version. */
  readonly runtime: string;
  readonly delegate: string;
  /** One for each output; none where the bundle has no golden outputs. */
  readonly outputs: readonly OutputTest[];
}

/** Called with what was found and expected for each golden sample. */
export type Watch = (found: Tensors, expected: Tensors) => void;

/** Run all golden samples by `run`. */
export async function compareOutputs(
  opened: Opened,
  run: (tensors: Tensors) => Promise<Tensors>,
  watch: Watch = () => undefined,
): Promise<SelfTest> {
  const { artifact, bundle, info } = opened;
  const { count, tolerance } = artifact.golden;
  const inputs = await readAll(bundle, artifact.golden.inputs, artifact.inputs, count);
  const expected = await readAll(bundle, artifact.golden.outputs ?? new Map(), artifact.outputs, count);
  const worst = new Map([...expected.keys()].map((spec) => [spec.name, { largestDifference: 0, worstSample: 0 }]));
  for (let i = 0; i < count; i++) {
    const found = await run(samples(inputs, i));
    const wanted = samples(expected, i);
    for (const [name, before] of worst) {
      const difference = largestDifference(found[name], wanted[name]);
      const isWorse = !(difference <= before.largestDifference) && !Number.isNaN(before.largestDifference);
      if (isWorse) worst.set(name, { largestDifference: difference, worstSample: i });
    }
    watch(found, wanted);
  }
  const outputs = [...worst].map(([name, found]) => ({ name, ...found, tolerance: tolerance.get(name) ?? 0 }));
  const ok = outputs.length > 0 && outputs.every((output) => output.largestDifference <= output.tolerance);
  return {
    ok,
    artifact: artifact.name,
    runtime: `${info.runtime} ${info.version}`,
    delegate: info.delegate.name,
    outputs,
  };
}

/** A self-test as lines of text. */
export function describe(test: SelfTest): string {
  const head = `${test.artifact} by ${test.runtime} on ${test.delegate}: ${test.ok ? "ok" : "FAILED"}`;
  const lines = test.outputs.map((output) => {
    const { name, largestDifference: found, tolerance, worstSample } = output;
    return `${name}: largest difference ${found} (sample ${worstSample}), allowed ${tolerance}`;
  });
  return [head, ...(lines.length > 0 ? lines : ["the bundle has no golden outputs, so nothing was compared"])].join(
    "\n",
  );
}

/** The largest |a - b|; NaN where one is not a number or the sizes differ. */
export function largestDifference(a: Tensor, b: Tensor): number {
  if (a.data.length !== b.data.length) return NaN;
  let largest = 0;
  for (let i = 0; i < a.data.length; i++) {
    const difference = Math.abs(Number(a.data[i]) - Number(b.data[i]));
    if (!(difference <= largest)) largest = difference;
    if (Number.isNaN(difference)) return NaN;
  }
  return largest;
}

type All = ReadonlyMap<TensorSpec, Tensor>;

async function readAll(
  bundle: Bundle,
  paths: ReadonlyMap<string, string>,
  specs: readonly TensorSpec[],
  count: number,
): Promise<All> {
  const all = new Map<TensorSpec, Tensor>();
  for (const spec of specs) {
    const path = paths.get(spec.name);
    if (path === undefined) continue;
    const tensor = parseNpy(await bundle.read(path), path);
    if (tensor.shape[0] !== count || product(tensor.shape) === 0) {
      throw new ModelError(
        "manifest",
        `${path}: found the shape [${tensor.shape}], expected ${count} samples: copy the bundle again`,
      );
    }
    all.set(spec, tensor);
  }
  return all;
}

function samples(all: All, index: number): Tensors {
  return Object.fromEntries([...all].map(([spec, tensor]) => [spec.name, sample(tensor, index, spec)]));
}
