/** A model of the risk: how probable it is that an answer is wrong. */

import { entries, number, object } from "./manifest.ts";
import type { Features } from "./prediction.ts";

/** What keeps the odds of a full confidence finite. */
const edge = 1e-4;

/** Weights of the measures of confidence, and of the features of the request. */
export interface RiskModel {
  readonly intercept: number;
  readonly measures: ReadonlyMap<string, number>;
  readonly features: ReadonlyMap<string, number>;
}

/** Read the model of a decision table. Throws ModelError of the kind manifest. */
export function readRisk(value: unknown): RiskModel {
  const found = object(value, "router.risk");
  return {
    intercept: number(found["intercept"], "router.risk.intercept"),
    measures: entries(found["measures"], "router.risk.measures", number),
    features: entries(found["features"], "router.risk.features", number),
  };
}

/** 1 less the probability that an answer is wrong. measure: the confidence by a name. */
export function sureness(model: RiskModel, measure: (name: string) => number, features: Features): number {
  let risk = model.intercept;
  for (const [name, weight] of model.features) risk += weight * (features.get(name) ?? NaN);
  for (const [name, weight] of model.measures) {
    const confidence = measure(name);
    risk += weight * Math.log((confidence + edge) / (1 + edge - confidence));
  }
  return 1 / (1 + Math.exp(risk));
}
