/** Which answers a larger model, the teacher, has to give instead: the decision table of the bundle. */

import { facts } from "./generated.ts";
import { type Json, entries, list, number, object, string, wrong } from "./manifest.ts";
import type { Opened } from "./model.ts";
import { type Features, Prediction, argmax } from "./prediction.ts";
import { type RiskModel, readRisk, sureness } from "./risk.ts";

const rounding = 1e-9;
const byRisk = "risk";

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

/** The teacher is asked where a feature is above or below a number. */
interface Rule {
  readonly of: string;
  readonly above: number;
  readonly below: number;
}

interface Row {
  readonly scores: readonly number[];
  readonly features: Features;
  readonly confidence: number;
  readonly teacher: boolean;
}

interface Table {
  readonly by: string;
  readonly always: readonly number[];
  readonly when: readonly Rule[];
  readonly risk: RiskModel | null;
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
    const { probabilities, features } = prediction;
    const measure = (name: string) => (probabilities.length === 1 ? 1 : measures[name](probabilities));
    const risk = this.#table?.risk ?? null;
    return risk === null ? measure(this.#table?.by ?? "probability") : sureness(risk, measure, features);
  }

  /** Whether the teacher has to answer instead; never without a table. */
  asksTeacher(prediction: Prediction): boolean {
    return this.#table !== null && this.#asks(prediction, this.#table.threshold, this.#table);
  }

  /** How many golden rows of the table are decided in another way here. */
  wrongRows(): number {
    if (this.#table === null) return 0;
    const table = this.#table;
    return table.golden.filter(({ scores, features, confidence, teacher }) => {
      const prediction = new Prediction(facts.labels, scores, features);
      const near = Math.abs(this.confidence(prediction) - confidence) <= rounding;
      return !near || this.#asks(prediction, table.goldenThreshold, table) !== teacher;
    }).length;
  }

  #asks(prediction: Prediction, threshold: number | null, { always, when }: Table): boolean {
    // What is no number is not sure, and not known to be harmless.
    const sure = threshold !== null && this.confidence(prediction) > threshold;
    const within = when.every(({ of, above, below }) => {
      const value = prediction.features.get(of) ?? NaN;
      return value <= above && value >= below;
    });
    return !sure || !within || always.includes(argmax(prediction.probabilities));
  }
}

/**
 * The router of an artifact. features: the names of what this package knows of requests.
 *
 * Throws ModelError of the kind manifest where its table is not what this code reads.
 */
export function routerOf({ bundle, artifact }: Opened, features: readonly string[]): Router {
  const found = bundle.manifest.document["router"];
  if (found === undefined) return new Router(null);
  const table = object(found, "router");
  const by = string(table["by"], "router.by");
  const known = [...Object.keys(measures), byRisk];
  const risk = by === byRisk ? readRisk(table["risk"]) : null;
  const other = [by, ...(risk?.measures.keys() ?? [])].find((name) => !known.includes(name));
  if (other !== undefined) throw wrong(other, "router.by", known.join(", "));
  const when = list(table["when"] ?? [], "router.when", readRule);
  const unknown = [...when.map((rule) => rule.of), ...(risk?.features.keys() ?? [])].find((name) => !features.includes(name));
  if (unknown !== undefined) throw wrong(unknown, "router.when", `features among ${features.join(", ")}, or newer code`);
  const threshold = object(table["thresholds"], "router.thresholds")[artifact.name];
  return new Router({
    by,
    always: list(table["always"], "router.always", number),
    when,
    risk,
    threshold: threshold === null ? null : number(threshold, `router.thresholds.${artifact.name}`),
    goldenThreshold: number(table["golden_threshold"], "router.golden_threshold"),
    golden: list(table["golden"], "router.golden", (row, where) => readRow(object(row, where), where)),
  });
}

function readRule(value: unknown, where: string): Rule {
  const rule = object(value, where);
  return {
    of: string(rule["of"], `${where}.of`),
    above: number(rule["above"] ?? Infinity, `${where}.above`),
    below: number(rule["below"] ?? -Infinity, `${where}.below`),
  };
}

function readRow(row: Json, where: string): Row {
  const [scores] = Object.values(object(row["outputs"], `${where}.outputs`));
  return {
    scores: list(scores, `${where}.outputs`, number),
    features: entries(row["features"] ?? {}, `${where}.features`, number),
    confidence: number(row["confidence"], `${where}.confidence`),
    teacher: row["teacher"] === true,
  };
}
