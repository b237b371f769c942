/** Loads the runtime and the bundle, and classifies what a page can draw. */

import { ImageModel, type Prediction, type Runtime, frameFromImage, urlBundle } from "model";
import { Bundle } from "model/bundle.js";
import { textOf } from "model/errors.js";
import { type Json, number, object } from "model/manifest.js";
import { onnx } from "model/onnx.js";

import type { Times } from "./latency.ts";
import { Problem } from "./problem.ts";

/** What `frameFromImage` takes of a page. */
export type Source = Parameters<typeof frameFromImage>[0];

/** What the user may choose, by the page's address. */
export interface Choice {
  /** By default the first of the bundle. */
  readonly artifact?: string;
  readonly threads: number;
}

/** A prediction and how long it took. */
export interface Classified {
  readonly prediction: Prediction;
  readonly times: Times;
}

/** What the program sees of an image, in pixels after resizing. */
export interface Crop {
  /** The shorter side; null for an image that is stretched to a square. */
  readonly shorterSide: number | null;
  readonly width: number;
  readonly height: number;
}

/** A model that is ready. */
export interface Classifier {
  readonly model: ImageModel;
  readonly name: string;
  /** Programs that run here, the first of the bundle before the others. */
  readonly artifacts: readonly string[];
  readonly crop: Crop;
  classify(source: Source): Promise<Classified>;
}

const warmUps = 5;
const folder = new URL("../bundle/", import.meta.url);
const wasm = new URL("../runtime/ort-wasm-simd-threaded.wasm", import.meta.url);

/** step: is told what is done now. Throws Problem, and ModelError of the glue code. */
export async function loadClassifier(choice: Choice, step: (text: string) => void): Promise<Classifier> {
  step("Loading the runtime");
  const { runtime, lastRun } = timed(await loadRuntime());
  step("Loading the model");
  const reader = urlBundle(folder);
  const { manifest } = await Bundle.open(reader);
  const model = await ImageModel.load(reader, { runtime, ...choice });
  step("Warming up");
  // Of the whole way, because the code that prepares frames is slow at first too.
  const blank = new OffscreenCanvas(640, 480);
  for (let i = 0; i < warmUps; i++) await model.predict(frameFromImage(blank));
  return {
    model,
    name: manifest.name,
    artifacts: manifest.order.filter((name) =>
      manifest.artifacts.some((each) => each.name === name && runtime.formats.includes(each.format)),
    ),
    crop: cropOf(manifest.document, model.inputs[0]?.name ?? ""),
    async classify(source) {
      const start = performance.now();
      const prediction = await model.predict(frameFromImage(source));
      const total = performance.now() - start;
      const run = lastRun();
      return { prediction, times: { preparation: total - run, run, total } };
    },
  };
}

/** ONNX Runtime. Its WebAssembly is loaded here, because the runtime itself does not tell what is missing. */
async function loadRuntime(): Promise<Runtime> {
  if (typeof WebAssembly === "undefined") {
    throw new Problem(
      "This browser runs no WebAssembly",
      "The model needs it. Lockdown Mode of Apple and some settings of browsers switch it off for all pages; " +
        "allow it for this page, or open the page in another browser.",
    );
  }
  const [ort, binary] = await Promise.all([
    import("onnxruntime-web/wasm").catch((error: unknown) => {
      throw runtimeMissing("runtime/ort.wasm.bundle.min.mjs", textOf(error));
    }),
    loadWasm(),
  ]);
  ort.env.wasm.wasmBinary = binary;
  return onnx(ort);
}

async function loadWasm(): Promise<Uint8Array> {
  const name = "runtime/ort-wasm-simd-threaded.wasm";
  const response = await fetch(wasm).catch((error: unknown) => {
    throw runtimeMissing(name, textOf(error));
  });
  if (!response.ok) throw runtimeMissing(name, `the server answers ${response.status} ${response.statusText}`.trim());
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (new TextDecoder().decode(bytes.subarray(0, 4)) !== "\0asm") throw runtimeMissing(name, "it is no WebAssembly");
  return bytes;
}

function runtimeMissing(name: string, found: string): Problem {
  return new Problem(
    "The runtime is missing",
    `${name} cannot be loaded (${found}). Check the connection; if that is fine, build the page again, ` +
      "and serve the whole folder dist/.",
  );
}

/** The runtime, and the milliseconds of its last run. */
function timed(runtime: Runtime): { runtime: Runtime; lastRun: () => number } {
  let last = 0;
  const open: Runtime["open"] = async (...program) => {
    const opened = await runtime.open(...program);
    return {
      delegate: opened.delegate,
      threads: opened.threads,
      release: () => opened.release(),
      async run(inputs, outputs) {
        const start = performance.now();
        const found = await opened.run(inputs, outputs);
        last = performance.now() - start;
        return found;
      },
    };
  };
  const { name, version, packages, formats } = runtime;
  return { runtime: { name, version, packages, formats, open }, lastRun: () => last };
}

/** The glue code has checked these fields. */
function cropOf(document: Json, input: string): Crop {
  const inputs = object(object(document["preprocessing"], "preprocessing")["inputs"], "preprocessing.inputs");
  const facts = object(inputs[input], `preprocessing.inputs.${input}`);
  const [resize, crop] = [object(facts["resize"], "resize"), object(facts["crop"], "crop")];
  return {
    shorterSide: resize["width"] === undefined ? number(resize["shorter_side"], "resize.shorter_side") : null,
    width: number(crop["width"], "crop.width"),
    height: number(crop["height"], "crop.height"),
  };
}
