/** What an app imports of a bundle with a model of images. */

export { frameFromImage, frameFromImageData, frameFromVideoFrame } from "./browserFrames.ts";
export { type Frame, type PackedFormat, type PackedFrame, type Plane, type YuvFrame, packedFrame } from "./frame.ts";
export type { TestedFrame } from "./goldenFrames.ts";
export { ImageModel, type ImageSelfTest, describeImages } from "./imageModel.ts";
export * from "./index.ts";
export { type Features, Prediction, type Scored } from "./prediction.ts";
export type { Router } from "./router.ts";
