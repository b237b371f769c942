/** Vectors that say what texts mean. */

import { ModelError } from "./errors.ts";

/** The vector of a text. */
export class Embedding {
  /** One number for each dimension. */
  readonly values: Float32Array;

  constructor(values: Float32Array) {
    this.values = values;
  }

  /**
   * The cosine of two embeddings, from -1 to 1: texts that mean the same are close to 1. 0 where one of them has no
   * direction. Throws ModelError of the kind input where they are not of the same model.
   */
  similarity(other: Embedding): number {
    const [a, b] = [this.values, other.values];
    if (a.length !== b.length) {
      const found = `found embeddings of ${a.length} and ${b.length} numbers`;
      throw new ModelError("input", `${found}, expected two of the same model`);
    }
    const lengths = Math.sqrt(product(a, a)) * Math.sqrt(product(b, b));
    return lengths === 0 ? 0 : Math.min(1, Math.max(-1, product(a, b) / lengths));
  }
}

function product(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, place) => sum + value * b[place], 0);
}
