/** node node.js CHECK FOLDER: runs a check in Node, and prints its result as JSON. */

import { folderBundle } from "made/folder";
import { onnx } from "made/onnx";
import * as ort from "onnxruntime-node";

import { checkEmbeddings, checkLabels, checkRefused, checkTokens } from "./checks.js";

const runtime = onnx(ort);
const checks: Record<string, (folder: string) => unknown> = {
  tokens: (folder) => checkTokens(folderBundle(folder)),
  labels: (folder) => checkLabels(folderBundle(folder), { runtime }),
  embeddings: (folder) => checkEmbeddings(folderBundle(folder), { runtime }),
  refused: (folder) => checkRefused(folderBundle(folder), { runtime }),
};

const [, , name = "", folder = ""] = process.argv;
console.log(JSON.stringify(await checks[name]?.(folder)));
