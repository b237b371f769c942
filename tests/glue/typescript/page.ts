/** Runs all checks in a page, and sends the result to the server that the page came from. */

import { frameFromImage, frameFromImageData, frameFromVideoFrame, urlBundle } from "made";
import { onnx } from "made/onnx";
import { prepare } from "made/preprocessing";
import * as ort from "onnxruntime-web/wasm";

import { caught, checkCorpus, checkMisuse, checkModel } from "./checks.js";

/** The same picture by each way that a browser has: 16 x 16 pixels, as they are, without resizing. */
async function checkFrames() {
  const image = new ImageData(16, 16);
  image.data.forEach((_, i) => (image.data[i] = i % 4 === 3 ? 255 : (i * 37) % 256));
  const bitmap = await createImageBitmap(image);
  const video = new VideoFrame(image.data, { format: "RGBA", codedWidth: 16, codedHeight: 16, timestamp: 0 });
  const planes = Uint8Array.from({ length: 384 }, (_, i) => (i * 5) % 256);
  const colorSpace = { matrix: "bt709", fullRange: false } as const;
  const camera = new VideoFrame(planes, { format: "NV12", codedWidth: 16, codedHeight: 16, timestamp: 0, colorSpace });
  const sizes = { side: 16, stretch: false, filter: "triangle", down: false, width: 16, height: 16 } as const;
  const yuv = await frameFromVideoFrame(camera);
  return {
    expected: Array.from(image.data.filter((_, i) => i % 4 !== 3)),
    data: Array.from(prepare(frameFromImageData(image), sizes)),
    bitmap: Array.from(prepare(frameFromImage(bitmap), sizes)),
    video: Array.from(prepare(await frameFromVideoFrame(video), sizes)),
    camera: { format: yuv.format, matrix: "matrix" in yuv && yuv.matrix, range: "range" in yuv && yuv.range },
    luma: Array.from(yuv.planes[0]?.bytes.subarray(0, 4) ?? []),
    v: yuv.planes[2]?.bytes[yuv.planes[2].offset ?? 0],
    unloaded: await caught(() => frameFromImage(new Image())),
  };
}

async function check() {
  const runtime = onnx(ort);
  return {
    corpus: await checkCorpus(urlBundle("/corpus")),
    model: await checkModel(urlBundle("/bundle/"), { runtime, threads: 2 }),
    misuse: await checkMisuse(urlBundle("/bundle/"), runtime),
    frames: await checkFrames(),
    missing: await caught(() => checkModel(urlBundle("/nothing/"), { runtime })),
  };
}

const result = await check().catch((error: unknown) => ({
  error: error instanceof Error ? error.stack : String(error),
}));
await fetch("/result", { method: "POST", body: JSON.stringify(result) });
