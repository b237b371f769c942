/** What an app imports of a bundle with a model that gives texts their embeddings. */

export { Embedding } from "./embedding.ts";
export { EmbeddingModel } from "./embeddingModel.ts";
export * from "./index.ts";
export { type TextSelfTest, describeTexts } from "./readsTexts.ts";
