/** What models of texts share: how a text becomes what an artifact takes, and the test of it. */

import { type Artifact, type Json, entries, list, number, object, string, wrong } from "./manifest.ts";
import { type CallOptions, Model, type Opened } from "./model.ts";
import { type SelfTest, type Watch, compareOutputs, describe } from "./selfTest.ts";
import type { Tensors } from "./tensors.ts";
import { Tokens } from "./tokens.ts";

/** The result of a self-test of a model of texts. */
export interface TextSelfTest extends SelfTest {
  /** Texts of the bundle whose tokens are others here than in training. */
  readonly texts: readonly string[];
}

/** Makes the inputs of one artifact from a text. */
export interface TextReader {
  /** The numbers of the tokens of a text, at most as many as the model takes. Throws ModelError of the kind input. */
  tokens(text: string): number[];
  /** The tokens of a text and their mask, int32 [1, N] each; N is the smallest bucket that holds the text. */
  tensors(text: string): Tensors;
  /** How many tokens there are, and what share of them is unknown, where the tokenizer has a token for that. */
  features(tokens: readonly number[]): Map<string, number>;
}

/** A model whose inputs are the tokens of a text and their mask, and which has one output. */
export class ReadsTexts extends Model {
  protected readonly output: string;
  readonly #reader: TextReader;

  protected constructor(opened: Opened, reader: TextReader, output: string) {
    super(opened);
    this.#reader = reader;
    this.output = output;
  }

  /** The numbers of the tokens of a text, at most as many as the model takes. */
  tokens(text: string): number[] {
    return this.#reader.tokens(text);
  }

  /** What is known of a text without the model. */
  protected features(text: string): Map<string, number> {
    return this.#reader.features(this.tokens(text));
  }

  /** Run the golden samples and tokenize the golden texts of the bundle, and compare with the kit's results. */
  override selfTest(options: CallOptions = {}): Promise<TextSelfTest> {
    return this.compareTexts(options);
  }

  /** The numbers that the model gives for a text. */
  protected answer(text: string, options: CallOptions): Promise<Float32Array> {
    return this.inTurn(async () => {
      const outputs = await this.runNow(() => this.#reader.tensors(text), options.signal);
      return outputs[this.output].data as Float32Array;
    });
  }

  /** `selfTest`; watch: called for each golden sample. */
  protected async compareTexts(options: CallOptions, watch?: Watch): Promise<TextSelfTest> {
    const golden = list(this.opened.bundle.manifest.document["golden_texts"] ?? [], "golden_texts", object);
    const texts = golden.flatMap((entry, index) => {
      const where = `golden_texts[${index}]`;
      const text = string(entry["text"], `${where}.text`);
      const expected = list(entry["tokens"], `${where}.tokens`, number);
      const found = this.tokens(text);
      const same = found.length === expected.length && found.every((token, place) => token === expected[place]);
      return same ? [] : [text];
    });
    const test = await compareOutputs(this.opened, (tensors) => this.run(tensors, options), watch);
    return { ...test, ok: test.ok && texts.length === 0, texts };
  }
}

/** A self-test as lines of text. */
export function describeTexts(test: TextSelfTest): string {
  const texts = test.texts.map((text) => `text ${JSON.stringify(text.slice(0, 40))}: has other tokens than in training`);
  return [describe(test), ...texts].join("\n");
}

/** Read how the artifact takes texts. Throws ModelError of the kinds manifest, missing-file and hash. */
export async function readerOf(opened: Opened): Promise<TextReader> {
  const { bundle, artifact } = opened;
  const where = "preprocessing.inputs";
  const inputs = entries(object(bundle.manifest.document["preprocessing"], "preprocessing")["inputs"], where, object);
  const [name, facts] = ofKind(inputs, "text");
  const [mask] = ofKind(inputs, "mask");
  const length = number(facts["length"], `${where}.${name}.length`);
  const padding = number(facts["padding"], `${where}.${name}.padding`);
  const known = list(facts["buckets"] ?? [length], `${where}.${name}.buckets`, number);
  const sizes = [name, mask].map((input) => sizeOf(artifact, input, known));
  // A file of one size fills up each text to it.
  const buckets = typeof sizes[0] === "number" ? [sizes[0]] : known;
  const most = buckets[buckets.length - 1];
  const tokens = new Tokens(await bundle.read(string(facts["tokenizer"], `${where}.${name}.tokenizer`)), most);
  const unknown = facts["unknown"] === undefined ? null : number(facts["unknown"], `${where}.${name}.unknown`);
  return {
    tokens: (text) => tokens.of(text),
    features(found) {
      const known = new Map([["tokens", found.length]]);
      const count = found.filter((token) => token === unknown).length;
      return unknown === null ? known : known.set("unknown", count / Math.max(1, found.length));
    },
    tensors(text) {
      const found = tokens.of(text);
      const length = buckets.find((bucket) => bucket >= found.length) ?? most;
      const tensor = (value: (place: number) => number) =>
        ({ dtype: "int32", shape: [1, length], data: Int32Array.from({ length }, (_, place) => value(place)) }) as const;
      return {
        [name]: tensor((place) => found[place] ?? padding),
        [mask]: tensor((place) => (place < found.length ? 1 : 0)),
      };
    },
  };
}

function ofKind(inputs: ReadonlyMap<string, Json>, kind: string): [string, Json] {
  const found = [...inputs].find(([, facts]) => facts["kind"] === kind);
  if (found === undefined || inputs.size !== 2) {
    const kinds = [...inputs.values()].map((facts) => facts["kind"]);
    throw wrong(kinds, "preprocessing.inputs", "one input of the kind text and one of the kind mask");
  }
  return found;
}

/** How many tokens an artifact takes: one of the buckets, or the name of the number where it varies. */
function sizeOf(artifact: Artifact, name: string, buckets: readonly number[]): number | string {
  const spec = artifact.inputs.find((input) => input.name === name);
  const size = spec?.shape[1];
  const fits = typeof size === "string" || (size !== undefined && buckets.includes(size));
  if (!fits || spec?.dtype !== "int32" || spec.shape.length !== 2 || spec.shape[0] !== 1) {
    throw wrong(spec ?? null, `input ${name} of ${artifact.name}`, `int32[1,${buckets.join(" or ")}]`);
  }
  return size;
}
