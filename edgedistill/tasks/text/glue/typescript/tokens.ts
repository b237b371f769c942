/** How a text becomes numbers, by the tokenizer.json of the bundle. */

import { Tokenizer } from "@huggingface/tokenizers";

import { ModelError, textOf } from "./errors.ts";

/** What is used of the package, whose own types Node's way to find modules does not find. */
interface Encoder {
  encode(text: string, options?: { add_special_tokens: boolean }): { ids: number[] };
}

/** Gives the tokens of a text, `length` of them at most. */
export class Tokens {
  readonly #tokenizer: Encoder;
  readonly #length: number;
  readonly #prepare: (text: string) => string;
  /** How many tokens are put in front of a text, and behind it. */
  readonly #front: number;
  readonly #behind: number;

  /** file: tokenizer.json. Throws ModelError of the kind manifest where it cannot be read. */
  constructor(file: Uint8Array, length: number) {
    try {
      const json = JSON.parse(new TextDecoder().decode(file)) as { normalizer?: unknown };
      this.#tokenizer = new Tokenizer(json, {});
      this.#prepare = mended(json.normalizer);
      this.#length = length;
      const alone = this.#tokenizer.encode("a", { add_special_tokens: false }).ids;
      const { ids } = this.#tokenizer.encode("a");
      this.#front = Math.max(
        ids.findIndex((_, place) => alone.every((token, next) => ids[place + next] === token)),
        0,
      );
      this.#behind = ids.length - this.#front - alone.length;
    } catch (error) {
      const advice = "expected a tokenizer that @huggingface/tokenizers reads: update the package";
      throw new ModelError("manifest", `tokenizer.json cannot be read (${textOf(error)}), ${advice}`, error);
    }
  }

  /** The numbers of the tokens of `text`. Of a text that is too long, the first ones; what ends each text stays. */
  of(text: string): number[] {
    if (typeof text !== "string") throw new ModelError("input", `found ${typeof text}, expected a text`);
    const { ids } = this.#tokenizer.encode(this.#prepare(text));
    if (ids.length <= this.#length) return ids;
    const end = ids.length - this.#behind;
    return [...ids.slice(0, this.#length - this.#behind), ...ids.slice(end)];
  }
}

/**
 * What a text needs so that version 0.2.0 of the package gives the tokens of the original: it makes a capital sigma at
 * the end of a word the final one, and takes no ideograph beyond U+FFFF for a word of its own.
 */
function mended(normalizer: unknown): (text: string) => string {
  const steps = stepsOf(normalizer);
  const bert = steps.filter((step) => step["type"] === "BertNormalizer");
  const lowers = bert.some((step) => step["lowercase"]) || steps.some((step) => step["type"] === "Lowercase");
  const parts = bert.some((step) => step["handle_chinese_chars"]);
  return (text) => {
    const lowered = lowers ? text.replaceAll("\u03a3", "\u03c3") : text;
    return parts ? lowered.replace(ideographs, " $& ") : lowered;
  };
}

/** The ideographs beyond U+FFFF that BERT's tokenizer knows. */
const ideographs =
  /[\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B920}-\u{2CEAF}\u{2F800}-\u{2FA1F}]/gu;

/** A normalizer of tokenizer.json, or those that it is made of. */
function stepsOf(normalizer: unknown): Record<string, unknown>[] {
  if (typeof normalizer !== "object" || normalizer === null) return [];
  const step = normalizer as Record<string, unknown>;
  return Array.isArray(step["normalizers"]) ? step["normalizers"].flatMap(stepsOf) : [step];
}
