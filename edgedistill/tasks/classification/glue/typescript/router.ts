/** Which answers a larger model, the teacher, has to give instead: the decision table of the bundle. */

import { facts } from "./generated.ts";
import { type Json, list, number, object, string, wrong } from "./manifest.ts";
import type { Opened } from "./model.ts";
import { Prediction, argmax } from "./prediction.ts";

const rounding = 1e-9;

type Measure = (probabilities: Float64Array) => number;

const measures: { readonly [name: string]: Measure } = {
  probability: (shares) => Math.max(...shares),
  margin: (shares) => {
    const [first, second] = Float64Array.from(shares).sort().reverse();
    return first - second;
  },
  entropy: (shares) => {
    const sum = shares.reduce((total, share) => (share > 0 ? total + share * Math.log(share) : total), 0);
    return 1 + sum / Math.log(shares.length);
  },
};

interface Row {
  readonly scores: readonly number[];
  readonly confidence: number;
  readonly teacher: boolean;
}

interface Table {
  readonly by: string;
  readonly always: readonly number[];
  /** null asks the teacher each time. */
  readonly threshold: number | null;
  readonly goldenThreshold: number;
  readonly golden: readonly Row[];
}

/** The decision table; `routerOf` reads it. */
export class Router {
  readonly #table: Table | null;

  /** table: null where the bundle has none. */
  constructor(table: Table | null) {
    this.#table = table;
  }

  /** How sure a prediction is, from 0 to 1; without a table its highest probability. */
  confidence(prediction: Prediction): number {
    const { probabilities } = prediction;
    return probabilities.length === 1 ? 1 : measures[this.#table?.by ?? "probability"](probabilities);
  }

  /** Whether the teacher has to answer instead; never without a table. */
  asksTeacher(prediction: Prediction): boolean {
    return this.#table !== null && this.#asks(prediction, this.#table.threshold, this.#table.always);
  }

  /** How many golden rows of the table are decided in another way here. */
  wrongRows(): number {
    if (this.#table === null) return 0;
    const { golden, goldenThreshold, always } = this.#table;
    return golden.filter(({ scores, confidence, teacher }) => {
      const prediction = new Prediction(facts.labels, scores);
      const near = Math.abs(this.confidence(prediction) - confidence) <= rounding;
      return !near || this.#asks(prediction, goldenThreshold, always) !== teacher;
    }).length;
  }

  #asks(prediction: Prediction, threshold: number | null, always: readonly number[]): boolean {
    // What is no number is not sure.
    const sure = threshold !== null && this.confidence(prediction) > threshold;
    return !sure || always.includes(argmax(prediction.probabilities));
  }
}

/** The router of an artifact. Throws ModelError of the kind manifest where its table is not what this code reads. */
export function routerOf({ bundle, artifact }: Opened): Router {
  const found = bundle.manifest.document["router"];
  if (found === undefined) return new Router(null);
  const table = object(found, "router");
  const by = string(table["by"], "router.by");
  if (!(by in measures)) throw wrong(by, "router.by", Object.keys(measures).join(", "));
  const threshold = object(table["thresholds"], "router.thresholds")[artifact.name];
  return new Router({
    by,
    always: list(table["always"], "router.always", number),
    threshold: threshold === null ? null : number(threshold, `router.thresholds.${artifact.name}`),
    goldenThreshold: number(table["golden_threshold"], "router.golden_threshold"),
    golden: list(table["golden"], "router.golden", (row, where) => readRow(object(row, where), where)),
  });
}

function readRow(row: Json, where: string): Row {
  const [scores] = Object.values(object(row["outputs"], `${where}.outputs`));
  return {
    scores: list(scores, `${where}.outputs`, number),
    confidence: number(row["confidence"], `${where}.confidence`),
    teacher: row["teacher"] === true,
  };
}
