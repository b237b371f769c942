/** What a model says about an image or a text. */

import type { Label } from "./generated.ts";

/** A label with its probability. */
export interface Scored {
  readonly label: Label;
  /** From 0 to 1. */
  readonly probability: number;
}

/** Numbers of a request, by name. */
export type Features = ReadonlyMap<string, number>;

/** The probabilities of all labels; they add up to 1. */
export class Prediction {
  /** By label, in the order of `labels`. */
  readonly probabilities: Float64Array;
  /** In the order of the model's output. */
  readonly labels: readonly Label[];
  /** What is known of the request without the model, such as its length. */
  readonly features: Features;

  constructor(labels: readonly Label[], logits: ArrayLike<number>, features: Features = new Map()) {
    this.labels = labels;
    this.probabilities = softmax(logits);
    this.features = features;
  }

  /** The most probable label; the first of equals. */
  get label(): Label {
    return this.labels[argmax(this.probabilities)];
  }

  /** The probability of `label`. */
  get probability(): number {
    return this.probabilities[argmax(this.probabilities)];
  }

  /** The k most probable labels, the most probable first; of equals the first in the order of `labels`. */
  top(k: number): Scored[] {
    const order = Array.from(this.probabilities.keys()).sort(
      (a, b) => this.probabilities[b] - this.probabilities[a] || a - b,
    );
    return order.slice(0, k).map((i) => ({ label: this.labels[i], probability: this.probabilities[i] }));
  }
}

/** exp(x - max) / sum, in double precision. */
export function softmax(logits: ArrayLike<number>): Float64Array {
  const largest = Math.max(...Array.from(logits));
  const powers = Float64Array.from(logits, (value) => Math.exp(value - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** The place of the largest value, the first of equals. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}
