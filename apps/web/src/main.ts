/** The page: loads the model, then shows what it says about images and the camera. */

import { describeImages, frameFromImage } from "model";

import { Camera } from "./camera.ts";
import { type Classifier, type Source, loadClassifier } from "./classifier.ts";
import { openImage, readsPixelsUnchanged } from "./image.ts";
import { Latencies, clockStep } from "./latency.ts";
import { forget, keepOffline } from "./offline.ts";
import * as page from "./page.ts";
import { Problem } from "./problem.ts";

/** Labels change at most so often, in milliseconds, so that they can be read. */
const betweenShown = 125;
const betweenPixels = 500;
const repeats = 100;

const address = new URLSearchParams(location.search);
const video = page.element("video", HTMLVideoElement);
const image = page.element("image", HTMLImageElement);
const file = page.element("file", HTMLInputElement);
const camera = new Camera(video);
const latencies = new Latencies();
/** The image that is shown; undefined with a camera. */
let still: Source | undefined;
/** While the self-test runs, the camera waits. */
let testing = false;

function on(id: string, work: () => Promise<void> | void): void {
  page.element(id, HTMLElement).addEventListener("click", () => void told(work));
}

/** Do `work`, and show what it throws. */
async function told(work: () => Promise<void> | void): Promise<void> {
  page.hideProblem();
  try {
    await work();
  } catch (error) {
    page.showProblem(error);
  }
}

/** A new source: of the last one nothing stays. */
function begin(kind: "video" | "image"): void {
  camera.stop();
  still = undefined;
  latencies.clear();
  page.showLatencies(latencies);
  page.clearPrediction();
  page.setHidden("seen", true);
  page.element("preview", HTMLElement).dataset["shows"] = kind;
  showButtons();
}

function showButtons(): void {
  page.setText("camera", camera.runs ? "Stop camera" : "Start camera");
  page.setHidden("repeat", still === undefined);
  if (!camera.runs) page.setHidden("turn", true);
}

async function startCamera(classifier: Classifier): Promise<void> {
  begin("video");
  try {
    await camera.start(() => {
      begin("video");
      endPreview();
      page.showProblem(new Problem("The camera stopped", "It was disconnected, or its permission was taken back."));
    });
  } catch (error) {
    endPreview();
    throw error;
  }
  showButtons();
  page.setHidden("turn", !(await camera.hasOther()));
  await followCamera(classifier);
}

function endPreview(): void {
  delete page.element("preview", HTMLElement).dataset["shows"];
}

async function followCamera(classifier: Classifier): Promise<void> {
  const stream = video.srcObject;
  let shown = -Infinity;
  let seen = -Infinity;
  for (;;) {
    await camera.nextFrame();
    // Another source, or another start of the camera, has a loop of its own.
    if (video.srcObject !== stream) return;
    if (testing || video.videoWidth === 0) continue;
    const { prediction, times } = await classifier.classify(video);
    if (video.srcObject !== stream) return;
    latencies.add(times);
    const now = performance.now();
    if (now - shown >= betweenShown) {
      shown = now;
      page.showPrediction(prediction);
      page.showLatencies(latencies);
      page.announce(prediction);
    }
    if (now - seen >= betweenPixels) {
      seen = now;
      showSeen(classifier, video, video.videoWidth, video.videoHeight);
    }
  }
}

function showSeen({ model, crop }: Classifier, source: Source, width: number, height: number): void {
  page.fitPreview(crop, width, height);
  page.showPixels(model.pixels(frameFromImage(source)), crop);
}

async function showFile(classifier: Classifier, chosen: File): Promise<void> {
  begin("image");
  image.alt = chosen.name;
  try {
    still = await openImage(chosen, image);
    await predictStill(classifier, still);
    showSeen(classifier, still, image.naturalWidth, image.naturalHeight);
  } catch (error) {
    still = undefined;
    endPreview();
    throw error;
  } finally {
    showButtons();
  }
}

async function predictStill(classifier: Classifier, source: Source): Promise<void> {
  const { prediction, times } = await classifier.classify(source);
  if (still !== source) return;
  latencies.add(times);
  page.showPrediction(prediction);
  page.showLatencies(latencies);
  page.announce(prediction);
}

async function repeat(classifier: Classifier): Promise<void> {
  const source = still;
  for (let i = 0; i < repeats && source !== undefined && still === source; i++) {
    await predictStill(classifier, source);
    // Between two predictions the page is drawn and answers its user.
    await new Promise((resolve) => setTimeout(resolve));
  }
}

async function selfTest({ model }: Classifier): Promise<void> {
  testing = true;
  page.setText("self-test-result", "running");
  try {
    const test = await model.selfTest();
    page.showSelfTest(test, describeImages(test), readsPixelsUnchanged());
  } catch (error) {
    page.setText("self-test-result", "failed");
    throw error;
  } finally {
    testing = false;
  }
}

/** Take a dropped image anywhere on the page. */
function takeDrops(classifier: Classifier): void {
  const preview = page.element("preview", HTMLElement);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    preview.classList.add("aimed");
  });
  document.addEventListener("dragleave", () => preview.classList.remove("aimed"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    preview.classList.remove("aimed");
    const [dropped] = event.dataTransfer?.files ?? [];
    if (dropped !== undefined) void told(() => showFile(classifier, dropped));
  });
}

/** The choices are part of the address, so that they can be linked, and each begins with a fresh runtime. */
function takeChoices(): void {
  for (const name of ["artifact", "threads"]) {
    const select = page.element(name, HTMLSelectElement);
    select.addEventListener("change", () => {
      address.set(name, select.value);
      location.search = address.toString();
    });
  }
}

function takeInputs(classifier: Classifier): void {
  on("camera", () => {
    if (!camera.runs) return startCamera(classifier);
    camera.stop();
    endPreview();
    showButtons();
    return undefined;
  });
  on("turn", () => {
    camera.turn();
    return startCamera(classifier);
  });
  on("choose", () => file.click());
  file.addEventListener("change", () => {
    const [chosen] = file.files ?? [];
    if (chosen !== undefined) void told(() => showFile(classifier, chosen));
    // The same file may be chosen again.
    file.value = "";
  });
  on("repeat", () => repeat(classifier));
  on("self-test", () => selfTest(classifier));
  takeDrops(classifier);
  takeChoices();
  for (const button of document.querySelectorAll<HTMLButtonElement>("button")) button.disabled = false;
}

async function main(): Promise<void> {
  on("again", forget);
  const artifact = address.get("artifact");
  const choice = { threads: Number(address.get("threads") ?? 1), ...(artifact === null ? {} : { artifact }) };
  const classifier = await loadClassifier(choice, (text) => page.setText("status", text));
  page.showClassifier(classifier);
  const step = clockStep();
  page.setText("clock", `This browser's clock has steps of ${step < 0.01 ? step.toFixed(3) : step.toFixed(1)} ms.`);
  page.setText("status", "Ready");
  takeInputs(classifier);
  if (address.has("self-test")) await selfTest(classifier);
  // Last, so that it takes nothing of the first load's network.
  await keepOffline(
    (text) => page.setText("offline", text),
    // What the service worker answers is isolated.
    () => page.setText("threads-note", globalThis.crossOriginIsolated ? "" : "More after a reload"),
    (renew) => {
      page.setHidden("renew", false);
      on("renew-now", renew);
    },
  );
}

try {
  await main();
} catch (error) {
  page.setText("status", "Not loaded");
  page.showProblem(error);
}
document.body.classList.remove("loading");
