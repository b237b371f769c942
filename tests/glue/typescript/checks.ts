/** What is checked in Node and in a page: the corpus of frames, a model's outputs, and each error. */

import {
  type BundleReader,
  type Frame,
  ImageModel,
  type Label,
  type LoadOptions,
  Model,
  ModelError,
  type Plane,
  type Runtime,
  describeImages,
  packedFrame,
} from "made";
import { prepare } from "made/preprocessing";
import { parseNpy, sample } from "made/tensors";

/** Prepare all frames of a corpus; the numbers of those with another byte than expected. */
export async function checkCorpus(corpus: BundleReader): Promise<{ frames: number; wrong: string[] }> {
  const text = new TextDecoder().decode(await corpus.read("index.tsv"));
  const [header = [], ...rows] = text
    .trimEnd()
    .split("\n")
    .map((line) => line.split("\t"));
  const wrong: string[] = [];
  for (const row of rows) {
    const entry = new Map(header.map((name, index) => [name, row[index] ?? ""]));
    const get = (name: string) => entry.get(name) ?? "";
    const [bytes, expected] = [await corpus.read(get("file")), await corpus.read(get("expected"))];
    const planes = get("planes")
      .split(";")
      .map((plane): Plane => {
        const [offset = 0, rowStride = 0, pixelStride = 0] = plane.split(":").map(Number);
        return { bytes, offset, rowStride, pixelStride };
      });
    const frame = {
      format: get("format"),
      width: Number(get("width")),
      height: Number(get("height")),
      orientation: Number(get("orientation")),
      matrix: get("matrix"),
      range: get("range"),
      planes,
    } as Frame;
    const [size, side] = [Number(get("size")), Number(get("side"))];
    const filter = get("filter") === "cubic" ? "cubic" : "triangle";
    const way = { side, stretch: get("stretch") === "1", filter, down: get("odd_margin") === "down" } as const;
    const found = prepare(frame, { ...way, width: size, height: size });
    if (found.length !== expected.length || found.some((value, i) => value !== expected[i])) wrong.push(row.join(" "));
  }
  return { frames: rows.length, wrong };
}

/** Everything that a loaded model gives, for the test to compare with Python's runtime. */
export async function checkModel(bundle: BundleReader, options: LoadOptions) {
  const model = await ImageModel.load(bundle, options);
  await model.warmUp(2);
  const test = await model.selfTest();
  const [input] = model.inputs;
  if (input === undefined) throw new Error("no input");
  const path = input.dtype === "uint8" ? "golden/inputs-uint8/image.npy" : "golden/inputs/image.npy";
  const golden = parseNpy(await bundle.read(path), path);
  const count = golden.shape[0] ?? 0;
  // All at once: the calls have to wait for each other.
  const tensors = Array.from({ length: count }, (_, i) => ({ [input.name]: sample(golden, i, input) }));
  const outputs = await Promise.all(tensors.map((each) => model.run(each)));
  const logits = outputs.map((output) => Array.from(output["logits"]?.data as Float32Array));
  const pixels = await bundle.read("golden/frames/0.bin");
  const frame = packedFrame("rgb8", 40, 50, pixels);
  const prediction = await model.predict(frame);
  const label: Label = prediction.label;
  const result = {
    info: model.info,
    test,
    text: describeImages(test),
    logits,
    label,
    probability: prediction.probability,
    probabilities: Array.from(prediction.probabilities),
    top: prediction.top(3),
    sure: model.router.confidence(prediction),
    asks: model.router.asksTeacher(prediction),
    features: Object.fromEntries(prediction.features),
    seen: Array.from(model.pixels(frame)),
  };
  await model.close();
  await model.close();
  return result;
}

/** The same golden samples without what is known of images. */
export async function checkPlainModel(bundle: BundleReader, runtime: Runtime) {
  const model = await Model.load(bundle, { runtime });
  const test = await model.selfTest();
  await model.close();
  return test;
}

type Caught = { kind: string; message: string };

/** The error of a call as data; "none" where there is none. */
export async function caught(call: () => unknown): Promise<Caught> {
  try {
    await call();
    return { kind: "none", message: "" };
  } catch (error) {
    if (error instanceof ModelError) return { kind: error.kind, message: error.message };
    return { kind: "other", message: String(error) };
  }
}

/** Throws where two runs of a model were under way at once. */
async function checkTurns(bundle: BundleReader, runtime: Runtime) {
  let running = 0;
  const counting: Runtime = {
    ...runtime,
    async open(...given) {
      const program = await runtime.open(...given);
      return {
        ...program,
        async run(...inputs) {
          if (++running > 1) throw new Error("two at once");
          const outputs = await program.run(...inputs);
          running--;
          return outputs;
        },
      };
    },
  };
  const model = await ImageModel.load(bundle, { runtime: counting });
  const frame = packedFrame("grey8", 4, 4, new Uint8Array(16));
  await Promise.all([model.predict(frame), model.warmUp(2), model.predict(frame)]);
  await model.close();
}

/** Throws where a program stays open though the bundle is of another task. */
async function checkRelease(bundle: BundleReader, runtime: Runtime) {
  let open = 0;
  const counting: Runtime = {
    ...runtime,
    async open(...given) {
      const program = await runtime.open(...given);
      open++;
      return { ...program, release: () => program.release().then(() => void open--) };
    },
  };
  const other: BundleReader = {
    async read(path) {
      const bytes = await bundle.read(path);
      if (path !== "manifest.json") return bytes;
      return new TextEncoder().encode(new TextDecoder().decode(bytes).replace("image-classification", "detection"));
    },
  };
  const { kind } = await caught(() => ImageModel.load(other, { runtime: counting }));
  if (kind !== "manifest" || open !== 0) throw new Error(`found ${kind}, and ${open} open`);
}

/** Each wrong use of a model. */
export async function checkMisuse(bundle: BundleReader, runtime: Runtime): Promise<Record<string, Caught>> {
  const model = await ImageModel.load(bundle, { runtime });
  const image = (shape: number[], data: Float32Array) => ({ image: { dtype: "float32", shape, data } as const });
  const rgb = new Uint8Array(48);
  const plane = (change: Partial<Plane>, bytes = rgb): Frame => ({
    format: "rgb8",
    width: 4,
    height: 4,
    planes: [{ bytes, rowStride: 12, pixelStride: 3, ...change }],
  });
  const yuv = (change: object) =>
    ({ format: "yuv420", width: 2, height: 2, planes: [], ...change }) as unknown as Frame;
  const frames: Record<string, Frame> = {
    "no pixels": packedFrame("rgb8", 0, 4, rgb),
    "half a pixel": packedFrame("rgb8", 1.5, 4, rgb),
    "too long": packedFrame("rgb8", 1, 51, new Uint8Array(200)),
    "short plane": plane({}, rgb.subarray(1)),
    offset: plane({ offset: 1 }),
    "row stride": plane({ rowStride: 11 }),
    "pixel stride": plane({ pixelStride: 2 }),
    "negative stride": plane({ rowStride: -12 }),
    orientation: packedFrame("rgb8", 4, 4, rgb, 9),
    format: { ...plane({}), format: "rgb9" } as unknown as Frame,
    planes: yuv({ matrix: "bt601", range: "full" }),
    matrix: yuv({ matrix: "bt2020", range: "full" }),
    range: yuv({ matrix: "bt601", range: "limited" }),
  };
  const found: Record<string, Caught> = {};
  for (const [name, frame] of Object.entries(frames))
    found[`frame: ${name}`] = await caught(() => model.predict(frame));
  found["names"] = await caught(() => model.run({ picture: image([1, 3, 32, 32], new Float32Array(3072)).image }));
  found["shape"] = await caught(() => model.run(image([1, 3, 32, 31], new Float32Array(2976))));
  found["dtype"] = await caught(() =>
    model.run({ image: { dtype: "uint8", shape: [1, 3, 32, 32], data: new Uint8Array(3072) } }),
  );
  found["length"] = await caught(() => model.run(image([1, 3, 32, 32], new Float32Array(3071))));
  const fine = packedFrame("rgb8", 4, 4, rgb);
  // The frame is wrong, which would be told if it were looked at.
  found["cancelled before"] = await caught(() =>
    model.predict(packedFrame("rgb8", 0, 4, rgb), { signal: AbortSignal.abort() }),
  );
  const controller = new AbortController();
  const running = caught(() => model.predict(fine, { signal: controller.signal }));
  await Promise.resolve();
  controller.abort(new Error("the user left"));
  found["cancelled while running"] = await running;
  found["after errors"] = await caught(() => model.predict(fine));
  const last = caught(() => model.predict(fine));
  await model.close();
  found["called before close"] = await last;
  found["closed"] = await caught(() => model.predict(fine));
  found["at the same time"] = await caught(() => checkTurns(bundle, runtime));
  found["not kept"] = await caught(() => checkRelease(bundle, runtime));
  const broken: Runtime = {
    ...runtime,
    open: async (...given) => ({
      ...(await runtime.open(...given)),
      run: () => Promise.reject(new Error("out of memory")),
    }),
  };
  const other = await ImageModel.load(bundle, { runtime: broken });
  found["runtime"] = await caught(() => other.predict(fine));
  await other.close();
  found["threads"] = await caught(() => ImageModel.load(bundle, { runtime, threads: 0 }));
  found["delegate"] = await caught(() => ImageModel.load(bundle, { runtime, delegate: "abacus" }));
  return found;
}
