/** What is checked of texts in Node and in a page: tokens, labels, embeddings, and each error. */

import { type BundleReader, type Label, type LoadOptions, ModelError, TextModel, describeLabels } from "made";
import { Embedding } from "made/embedding";
import { EmbeddingModel } from "made/embeddingModel";
import { describeTexts } from "made/readsTexts";
import { Tokens } from "made/tokens";

/** An error as data. */
export type Caught = { kind: string; message: string };

/** The error of a call; "none" where there is none. */
export async function caught(call: () => unknown): Promise<Caught> {
  try {
    await call();
    return { kind: "none", message: "" };
  } catch (error) {
    if (error instanceof ModelError) return { kind: error.kind, message: error.message };
    return { kind: "other", message: String(error) };
  }
}

async function json<T>(reader: BundleReader, path: string): Promise<T> {
  return JSON.parse(new TextDecoder().decode(await reader.read(path))) as T;
}

/** Tokenize texts.json by each tokenizer: the texts whose tokens are others than those of the file, and tokens a second. */
export async function checkTokens(corpus: BundleReader) {
  const kinds = await json<string[]>(corpus, "kinds.json");
  const found: Record<string, { texts: number; wrong: string[] }> = {};
  for (const kind of kinds) {
    const golden = await json<{ text: string; tokens: number[] }[]>(corpus, `${kind}/texts.json`);
    const tokens = new Tokens(await corpus.read(`${kind}/tokenizer.json`), 24);
    const wrong = golden.filter(({ text, tokens: expected }) => String(tokens.of(text)) !== String(expected));
    found[kind] = { texts: golden.length, wrong: wrong.map(({ text }) => text) };
  }
  return found;
}

/** What a model says of the texts in texts.json of its bundle, and its self-test. */
export async function checkLabels(bundle: BundleReader, options: LoadOptions) {
  const texts = await json<string[]>(bundle, "texts.json");
  const model = await TextModel.load(bundle, options);
  await model.warmUp(1);
  // All at once: the calls have to wait for each other.
  const predictions = await Promise.all(texts.map((text) => model.predict(text)));
  const test = await model.selfTest();
  const labels: Label[] = predictions.map((prediction) => prediction.label);
  const probabilities = predictions.map((prediction) => Array.from(prediction.probabilities));
  const errors = await misuse((text, signal) => model.predict(text, signal), model);
  const features = predictions.map((prediction) => Object.fromEntries(prediction.features));
  return { labels, probabilities, features, test, text: describeLabels(test), errors };
}

/** The embeddings of the texts in texts.json of a bundle, the cosine of the first to each, and the self-test. */
export async function checkEmbeddings(bundle: BundleReader, options: LoadOptions) {
  const texts = await json<string[]>(bundle, "texts.json");
  const model = await EmbeddingModel.load(bundle, options);
  const embeddings = await Promise.all(texts.map((text) => model.embed(text)));
  const [first] = embeddings;
  if (first === undefined) throw new Error("no texts");
  const zeros = new Embedding(new Float32Array(first.values.length));
  const test = await model.selfTest();
  const sizes = await caught(() => first.similarity(new Embedding(new Float32Array(2))));
  const errors = await misuse((text, signal) => model.embed(text, signal), model);
  return {
    embeddings: embeddings.map((embedding) => Array.from(embedding.values)),
    similarities: embeddings.map((embedding) => first.similarity(embedding)),
    zero: first.similarity(zeros),
    test,
    text: describeTexts(test),
    errors: { ...errors, sizes },
  };
}

type Call = (text: string, options: { signal?: AbortSignal }) => Promise<unknown>;

async function misuse(call: Call, model: { close(): Promise<void> }): Promise<Record<string, Caught>> {
  const type = await caught(() => call(7 as unknown as string, {}));
  const cancelled = await caught(() => call("apple", { signal: AbortSignal.abort() }));
  await model.close();
  const closed = await caught(() => call("apple", {}));
  return { type, cancelled, closed };
}

/** Throws where the program of a bundle that is refused stays open. */
export async function checkRefused(bundle: BundleReader, options: LoadOptions): Promise<Caught> {
  let open = 0;
  const runtime = {
    ...options.runtime,
    async open(program: Uint8Array, threads: number, delegate: string | undefined) {
      const opened = await options.runtime.open(program, threads, delegate);
      open++;
      return { ...opened, release: () => opened.release().then(() => void open--) };
    },
  };
  const task = (await json<{ task: string }>(bundle, "manifest.json")).task;
  const load = task === "embedding" ? EmbeddingModel.load : TextModel.load;
  const found = await caught(() => load(bundle, { ...options, runtime }));
  if (open !== 0) throw new Error(`${open} open`);
  return found;
}
