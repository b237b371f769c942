/** Named tensors, and the .npy files that golden samples are stored in. */

import { ModelError } from "./errors.ts";
import type { TensorSpec } from "./manifest.ts";

/** The array of each type of numbers, by numpy's name; a bool is a byte, 0 or 1. float16 is not supported. */
export interface Arrays {
  float32: Float32Array;
  float64: Float64Array;
  int8: Int8Array;
  uint8: Uint8Array;
  int16: Int16Array;
  uint16: Uint16Array;
  int32: Int32Array;
  int64: BigInt64Array;
  bool: Uint8Array;
}

/** A type of numbers. */
export type DType = keyof Arrays;

const arrays = {
  float32: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  bool: Uint8Array,
} as const;

/** Numbers with a type and a shape; the last dimension is the one whose neighbours lie side by side. */
export interface Tensor<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly data: Arrays[D];
}

/** Tensors by name. */
export type Tensors = Readonly<Record<string, Tensor>>;

/** A tensor of zeros. */
export function zeros(dtype: DType, shape: readonly number[]): Tensor {
  return { dtype, shape, data: new arrays[dtype](product(shape)) };
}

/** The number of elements of a shape. */
export function product(shape: readonly number[]): number {
  return shape.reduce((count, size) => count * size, 1);
}

/** `dtype` as a type that this code knows; throws ModelError of the kind input. */
export function knownType(dtype: string, where: string): DType {
  if (Object.hasOwn(arrays, dtype)) return dtype as DType;
  throw new ModelError("input", `${where} has the type ${dtype}, expected one of ${Object.keys(arrays).join(", ")}`);
}

/** Throws ModelError of the kind input unless `tensors` are the inputs of `specs`: names, types, shapes and sizes. */
export function checkInputs(tensors: Tensors, specs: readonly TensorSpec[]): void {
  const names = Object.keys(tensors);
  const expected = specs.map((spec) => spec.name);
  if (names.length !== expected.length || !expected.every((name) => Object.hasOwn(tensors, name))) {
    throw new ModelError(
      "input",
      `found inputs named ${names.join(", ") || "nothing"}, expected ${expected.join(", ")}`,
    );
  }
  for (const spec of specs) checkInput(tensors[spec.name], spec);
}

function checkInput(tensor: Tensor, spec: TensorSpec): void {
  const { dtype, shape, data } = tensor;
  const expected = `expected ${spec.dtype}[${spec.shape.join(",")}]`;
  const fits =
    shape.length === spec.shape.length && spec.shape.every((s, i) => typeof s === "string" || s === shape[i]);
  if (dtype !== spec.dtype || !fits) {
    throw new ModelError("input", `input ${spec.name}: found ${dtype}[${shape.join(",")}], ${expected}`);
  }
  if (!(data instanceof arrays[dtype]) || data.length !== product(shape)) {
    const found = `found ${data?.constructor?.name} of ${data?.length} numbers`;
    throw new ModelError(
      "input",
      `input ${spec.name}: ${found}, ${expected} as ${arrays[dtype].name} of ${product(shape)}`,
    );
  }
}

const npyTypes: Readonly<Record<string, DType>> = {
  "<f4": "float32",
  "<f8": "float64",
  "|i1": "int8",
  "|u1": "uint8",
  "<i2": "int16",
  "<u2": "uint16",
  "<i4": "int32",
  "<i8": "int64",
  "|b1": "bool",
};

/** Read a .npy file, the format of numpy.save. Throws ModelError of the kind manifest where it is none. */
export function parseNpy(bytes: Uint8Array, path: string): Tensor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const ok = bytes.length >= 12 && view.getUint32(0) === 0x934e554d && view.getUint16(4) === 0x5059;
  const long = ok && bytes[6] >= 2;
  const start = long ? 12 : 10;
  const end = ok ? start + (long ? view.getUint32(8, true) : view.getUint16(8, true)) : 0;
  const header = new TextDecoder("latin1").decode(bytes.subarray(start, end));
  const dtype = npyTypes[/'descr': *'([^']*)'/.exec(header)?.[1] ?? ""];
  const sizes = /'shape': *\(([\d, ]*)\)/.exec(header)?.[1];
  if (dtype === undefined || sizes === undefined || !header.includes("'fortran_order': False")) {
    const found = ok ? `the header ${header.trim()}` : "another kind of file";
    throw new ModelError(
      "manifest",
      `${path}: found ${found}, expected .npy with one of ${Object.keys(npyTypes).join(" ")}`,
    );
  }
  const shape = sizes
    .split(",")
    .filter((text) => text.trim() !== "")
    .map(Number);
  const length = product(shape) * arrays[dtype].BYTES_PER_ELEMENT;
  if (bytes.length - end !== length) {
    throw new ModelError(
      "manifest",
      `${path}: found ${bytes.length - end} bytes of numbers, expected ${length}: copy the bundle again`,
    );
  }
  // A copy, since numbers of several bytes have to begin at a multiple of their size.
  return { dtype, shape, data: new arrays[dtype](new Uint8Array(bytes.subarray(end)).buffer) };
}

/** Sample `index` of samples [count, ...] as a tensor of `spec`: a batch of 1 where the spec has one more size. */
export function sample(all: Tensor, index: number, spec: TensorSpec): Tensor {
  const inner = all.shape.slice(1);
  const shape = inner.length < spec.shape.length ? [1, ...inner] : inner;
  const length = product(inner);
  return { dtype: all.dtype, shape, data: all.data.slice(index * length, (index + 1) * length) };
}
