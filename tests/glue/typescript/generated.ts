/** Facts of this bundle. The kit writes this file. */

export const facts = {
  name: "made",
  manifestSchema: "edgedistill/manifest/3",
  labels: ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
} as const;

/** A label of the model. */
export type Label = (typeof facts.labels)[number];
