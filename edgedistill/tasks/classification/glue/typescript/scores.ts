/** The output of a model that gives each label a score. */

import { ModelError } from "./errors.ts";
import { facts } from "./generated.ts";
import { list, object, string, wrong } from "./manifest.ts";
import type { Opened } from "./model.ts";

/** The name of the scores. Throws ModelError where they are not what this package was written for. */
export function scoresOf(opened: Opened, expectedTask: string): string {
  const { document, task } = opened.bundle.manifest;
  if (task !== expectedTask) throw wrong(task, "task", expectedTask);
  const output = opened.artifact.outputs.find((spec) => spec.meaning === "logits");
  if (output === undefined || output.dtype !== "float32") {
    throw wrong(opened.artifact.outputs, `outputs of ${opened.artifact.name}`, "logits in float32");
  }
  checkLabels(list(document["labels"], "labels", string), output.shape[output.shape.length - 1]);
  const outputs = object(object(document["preprocessing"], "preprocessing")["outputs"], "preprocessing.outputs");
  const where = `preprocessing.outputs.${output.name}`;
  const scores = object(outputs[output.name], where);
  if (scores["postprocessing"] !== "softmax")
    throw wrong(scores["postprocessing"], `${where}.postprocessing`, '"softmax"');
  const { where: place } = object(scores["temperature"] ?? { where: "inside the program" }, `${where}.temperature`);
  if (place !== "inside the program") throw wrong(place, `${where}.temperature.where`, '"inside the program"');
  return output.name;
}

function checkLabels(labels: readonly string[], outputs: number | string): void {
  if (labels.length !== outputs) {
    throw wrong(labels.length, "labels", `${outputs} labels, one for each output`);
  }
  const other = labels.findIndex((label, index) => label !== facts.labels[index]);
  if (other >= 0 || labels.length !== facts.labels.length) {
    const place = Math.max(other, 0);
    const found = `found ${labels.length} labels with '${labels[place]}' as number ${place}`;
    const expected = `this package was written for ${facts.labels.length} with '${facts.labels[place]}'`;
    throw new ModelError("manifest", `${found}, ${expected}: take the package and the files of the same bundle`);
  }
}
