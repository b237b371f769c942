/** Facts of this bundle. The kit writes this file. */

export const facts = {
  name: "made",
  manifestSchema: "edgedistill/manifest/3",
  labels: ["weather", "a 2nd one", "語"],
} as const;

/** A label of the model. */
export type Label = (typeof facts.labels)[number];
