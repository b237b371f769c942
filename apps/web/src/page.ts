/** The elements of index.html, and what they show. */

import type { ImageSelfTest, Info, Prediction } from "model";

import type { Classifier, Crop } from "./classifier.ts";
import { type Latencies, type Times, parts } from "./latency.ts";
import { problemOf } from "./problem.ts";

const shownLabels = 5;
const percent = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const milliseconds = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** The element with this id. Throws TypeError where index.html has none of the type. */
export function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (found instanceof type) return found;
  throw new TypeError(`index.html: found no ${type.name} with the id ${id}`);
}

export function setText(id: string, text: string): void {
  element(id, HTMLElement).textContent = text;
}

export function setHidden(id: string, hidden: boolean): void {
  element(id, HTMLElement).hidden = hidden;
}

export function showProblem(error: unknown): void {
  const problem = problemOf(error);
  setText("problem-title", problem.title);
  setText("problem-text", problem.message);
  setHidden("problem", false);
}

export function hideProblem(): void {
  setHidden("problem", true);
}

/** What runs, and what else could. */
export function showClassifier(classifier: Classifier): void {
  const { name, artifacts, model } = classifier;
  const { info } = model;
  document.title = `${name} · image classifier`;
  setText("name", name);
  showInfo(info);
  const artifact = element("artifact", HTMLSelectElement);
  artifact.replaceChildren(...artifacts.map((each) => new Option(each, each, false, each === info.artifact)));
  artifact.disabled = artifacts.length < 2;
  const cores = globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, 8) : 1;
  const threads = element("threads", HTMLSelectElement);
  const counts = Array.from({ length: Math.max(cores, info.threads) }, (_, index) => String(index + 1));
  threads.replaceChildren(...counts.map((each) => new Option(each, each, false, each === String(info.threads))));
  threads.disabled = counts.length < 2;
  setText("threads-note", globalThis.crossOriginIsolated ? "" : "More need cross-origin isolation");
}

function showInfo({ runtime, version, delegate }: Info): void {
  setText("runtime", `${runtime} ${version}`);
  // In a browser the runtime's CPU is WebAssembly.
  const name = delegate.name === "cpu" ? "wasm (CPU)" : delegate.name;
  setText("provider", delegate.reason === null ? name : `${name}: ${delegate.reason}`);
}

/** The most probable labels as bars. */
export function showPrediction(prediction: Prediction): void {
  const list = element("labels", HTMLOListElement);
  const top = prediction.top(shownLabels);
  while (list.children.length < top.length) {
    const item = document.createElement("li");
    item.append(document.createElement("span"), document.createElement("span"), document.createElement("div"));
    list.append(item);
  }
  top.forEach(({ label, probability }, index) => {
    const [name, share, bar] = list.children[index]?.children ?? [];
    if (name === undefined || share === undefined || !(bar instanceof HTMLElement)) return;
    name.textContent = label;
    share.textContent = percent.format(probability);
    bar.style.setProperty("--share", String(probability));
  });
  setHidden("no-result", true);
}

export function clearPrediction(): void {
  element("labels", HTMLOListElement).replaceChildren();
  setHidden("no-result", false);
}

let announced = { label: "", at: -Infinity };

/** Tell a screen reader a new label, at most every two seconds. */
export function announce({ label, probability }: Prediction): void {
  const now = performance.now();
  if (label === announced.label || now - announced.at < 2000) return;
  announced = { label, at: now };
  setText("announcement", `${label}, ${percent.format(probability)}`);
}

export function showLatencies(latencies: Latencies): void {
  const text = (value: number | null) => (value === null ? "–" : milliseconds.format(value));
  for (const part of parts satisfies readonly (keyof Times)[]) {
    setText(`${part}-median`, text(latencies.median(part)));
    setText(`${part}-p95`, text(latencies.p95(part)));
  }
  const { count } = latencies;
  const until = count > 0 && count < 20 ? "; p95 needs 20" : "";
  setText("count", count === 0 ? "No prediction yet" : `Last ${count} prediction${count === 1 ? "" : "s"}${until}`);
}

/** Show the part of the source that the program sees, in its shape. width, height: of the source. */
export function fitPreview(crop: Crop, width: number, height: number): void {
  const preview = element("preview", HTMLElement);
  preview.style.setProperty("--shape", `${crop.width} / ${crop.height}`);
  // `object-fit: cover` shows the largest part of this shape, and the crop may be smaller.
  const covered = Math.min(width, (height * crop.width) / crop.height);
  // A stretched image has another shape than the preview, which shows its middle.
  const seen = crop.shorterSide === null ? covered : (crop.width / crop.shorterSide) * Math.min(width, height);
  preview.style.setProperty("--zoom", String(covered / seen));
}

/** The pixels that the program sees: RGB [height, width, 3]. */
export function showPixels(pixels: Uint8Array, { width, height }: Crop): void {
  const image = new ImageData(width, height);
  for (let i = 0, from = 0; i < image.data.length; i += 4, from += 3) {
    image.data.set(pixels.subarray(from, from + 3), i);
    image.data[i + 3] = 255;
  }
  const canvas = element("pixels", HTMLCanvasElement);
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d")?.putImageData(image, 0, 0);
  setText("pixels-size", `Model sees ${width} × ${height}`);
  setHidden("seen", false);
}

export function showSelfTest(test: ImageSelfTest, lines: string, pixelsUnchanged: boolean): void {
  const ok = test.ok && pixelsUnchanged;
  const result = element("self-test-result", HTMLElement);
  result.dataset["ok"] = String(ok);
  result.textContent = ok ? "ok" : "failed";
  const canvas = pixelsUnchanged
    ? "canvas: pixels are read back unchanged"
    : "canvas: this browser changes pixels that a page reads, so predictions are wrong; " +
      "switch off its protection against fingerprinting for this page";
  setText("self-test-text", `${lines}\n${canvas}`);
  const details = element("self-test-details", HTMLDetailsElement);
  details.hidden = false;
  details.open = !ok;
}
