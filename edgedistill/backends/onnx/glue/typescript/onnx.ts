/** Runs .onnx and .ort files by ONNX Runtime: in a browser, in Node and in React Native. */

import type * as Ort from "onnxruntime-common";

import type { Delegate, Program, Runtime } from "./runtime.ts";
import type { DType, Tensor, Tensors } from "./tensors.ts";

/** What is used of the module onnxruntime-web, onnxruntime-node or onnxruntime-react-native. */
export type OrtModule = Pick<typeof Ort, "InferenceSession" | "Tensor" | "env">;

/**
 * ONNX Runtime for `load`. ort: the module that the app imports.
 *
 * A delegate is an execution provider, such as "webgpu" with onnxruntime-web/webgpu. Where it is not available, loading
 * fails. Threads: a page has one number for all models, that of the first; without cross-origin isolation it is 1.
 * In Node, a run keeps its thread busy: call it in a worker where that matters.
 *
 * @example
 * import * as ort from "onnxruntime-web/wasm";
 * const model = await ImageModel.load(urlBundle("/models/digits/"), { runtime: onnx(ort) });
 */
export function onnx(ort: OrtModule): Runtime {
  const { web, node, common, "react-native": native } = ort.env.versions;
  const [platform, version] = web ? ["Web", web] : node ? ["Node", node] : ["React Native", native ?? common];
  const cpu = web ? "wasm" : "cpu";
  return {
    name: `ONNX Runtime ${platform}`,
    version,
    packages: ["onnxruntime"],
    formats: ["onnx", "ort"],
    async open(program, threads, delegate = cpu) {
      if (web) ort.env.wasm.numThreads = threads;
      const session = await ort.InferenceSession.create(program, options(threads, delegate));
      // The module corrects the number where a page may not have threads.
      const used = web ? (ort.env.wasm.numThreads ?? 1) : threads;
      return opened(ort, session, delegate === cpu ? { name: "cpu", reason: null } : unknown(delegate), used);
    },
  };
}

function options(threads: number, delegate: string): Ort.InferenceSession.SessionOptions {
  return {
    executionProviders: [delegate],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
    // Exact kernels, as in the kit: 8-bit products that do not saturate, and float32 inputs for weights of 4 or 8 bits.
    extra: { session: { x64quantprecision: "1", qdq_matmulnbits_accuracy_level: "1" } },
  };
}

function unknown(delegate: string): Delegate {
  return {
    name: "unknown",
    reason: `asked for ${delegate}; ONNX Runtime does not tell JavaScript which operators it left to the CPU`,
  };
}

function opened(ort: OrtModule, session: Ort.InferenceSession, delegate: Delegate, threads: number): Program {
  return {
    delegate,
    threads,
    async run(inputs, outputs) {
      const feeds = Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [name, toOrt(ort, tensor)]));
      const found = await session.run(feeds, outputs);
      return Object.fromEntries(outputs.map((name) => [name, fromOrt(found[name])])) satisfies Tensors;
    },
    release: () => session.release(),
  };
}

function toOrt(ort: OrtModule, tensor: Tensor): Ort.Tensor {
  // The constructor has an overload for each type, and the compiler cannot choose one here.
  return new ort.Tensor(tensor.dtype as "float32", tensor.data as Float32Array, tensor.shape);
}

function fromOrt(tensor: Ort.Tensor): Tensor {
  return { dtype: tensor.type as DType, shape: tensor.dims, data: tensor.data as Tensor["data"] };
}
