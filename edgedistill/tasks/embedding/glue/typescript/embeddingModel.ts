/** A model that gives a text its embedding. */

import type { BundleReader } from "./bundle.ts";
import { Embedding } from "./embedding.ts";
import { object, wrong } from "./manifest.ts";
import { type CallOptions, type LoadOptions, type Opened, open } from "./model.ts";
import { ReadsTexts, type TextReader, readerOf } from "./readsTexts.ts";

/**
 * Embeds texts.
 *
 * @example
 * const model = await EmbeddingModel.load(urlBundle("/models/sentences/"), { runtime });
 * const [one, other] = [await model.embed("What is the weather?"), await model.embed("Will it rain?")];
 * console.log(one.similarity(other));
 */
export class EmbeddingModel extends ReadsTexts {
  private constructor(opened: Opened, reader: TextReader, output: string) {
    super(opened, reader, output);
  }

  /** Load the model. The manifest, the chosen artifact and the tokenizer are read and checked. Throws ModelError. */
  static override async load(reader: BundleReader, options: LoadOptions): Promise<EmbeddingModel> {
    const opened = await open(reader, options);
    try {
      return new EmbeddingModel(opened, await readerOf(opened), embeddingOf(opened));
    } catch (error) {
      await opened.program.release();
      throw error;
    }
  }

  /** The embedding of a text. A text that is longer than the model takes is cut. */
  async embed(text: string, options: CallOptions = {}): Promise<Embedding> {
    return new Embedding(await this.answer(text, options));
  }
}

/** The name of the embedding. Throws ModelError where it is not what this package was written for. */
function embeddingOf(opened: Opened): string {
  const { document, task } = opened.bundle.manifest;
  if (task !== "embedding") throw wrong(task, "task", "embedding");
  const output = opened.artifact.outputs.find((spec) => spec.meaning === "embedding");
  if (output === undefined || output.dtype !== "float32") {
    throw wrong(opened.artifact.outputs, `outputs of ${opened.artifact.name}`, "an embedding in float32");
  }
  const outputs = object(object(document["preprocessing"], "preprocessing")["outputs"], "preprocessing.outputs");
  const where = `preprocessing.outputs.${output.name}`;
  const { similarity } = object(outputs[output.name], where);
  if (similarity !== "cosine") throw wrong(similarity, `${where}.similarity`, '"cosine"');
  return output.name;
}
