/** What an app imports of a bundle with a model that gives texts their labels. */

export * from "./index.ts";
export { type Features, Prediction, type Scored } from "./prediction.ts";
export type { Router } from "./router.ts";
export { type LabelSelfTest, TextModel, describeLabels } from "./textModel.ts";
