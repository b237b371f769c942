/** Runs the checks in a page, and sends the result to the server that the page came from. */

import { urlBundle } from "made";
import { onnx } from "made/onnx";
import * as ort from "onnxruntime-web/wasm";

import { checkEmbeddings, checkLabels, checkTokens } from "./checks.js";

async function check() {
  const runtime = onnx(ort);
  return {
    tokens: await checkTokens(urlBundle("/corpus/")),
    labels: await checkLabels(urlBundle("/bundle/labels/"), { runtime }),
    embeddings: await checkEmbeddings(urlBundle("/bundle/embeddings/"), { runtime }),
  };
}

const result = await check().catch((error: unknown) => ({
  error: error instanceof Error ? error.stack : String(error),
}));
await fetch("/result", { method: "POST", body: JSON.stringify(result) });
