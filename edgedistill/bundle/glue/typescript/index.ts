/** What an app imports of a bundle whose task has no code of its own. */

export { type BundleReader, urlBundle } from "./bundle.ts";
export { type ErrorKind, ModelError } from "./errors.ts";
export * from "./generated.ts";
export type { TensorSpec } from "./manifest.ts";
export { type CallOptions, type Info, type LoadOptions, Model } from "./model.ts";
export type { Delegate, Runtime } from "./runtime.ts";
export { type OutputTest, type SelfTest, describe } from "./selfTest.ts";
export type { Arrays, DType, Tensor, Tensors } from "./tensors.ts";
