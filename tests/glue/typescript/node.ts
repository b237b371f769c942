/** node node.js CHECK FOLDER...: runs a check in Node, and prints its result as JSON. */

import { ImageModel, type LoadOptions } from "made";
import { folderBundle } from "made/folder";
import { onnx } from "made/onnx";
import { softmax } from "made/prediction";
import { isOlder } from "made/runtime";
import { parseNpy } from "made/tensors";
import * as ort from "onnxruntime-node";

import { caught, checkCorpus, checkMisuse, checkModel, checkPlainModel } from "./checks.js";

const runtime = onnx(ort);

/** Load each bundle of cases.json, {name: options}, in the folder of that name. */
async function checkBundles(folder: string) {
  const text = new TextDecoder().decode(await folderBundle(folder).read("cases.json"));
  const cases = Object.entries(JSON.parse(text) as Record<string, { artifact?: string; publicKey?: number[] }>);
  const found: Record<string, unknown> = {};
  for (const [name, { artifact, publicKey }] of cases) {
    const options: LoadOptions = {
      runtime,
      ...(artifact === undefined ? {} : { artifact }),
      ...(publicKey === undefined ? {} : { publicKey: Uint8Array.from(publicKey) }),
    };
    found[name] = await caught(async () => {
      await using model = await ImageModel.load(folderBundle(`${folder}/${name}`), options);
      await model.selfTest();
    });
  }
  return found;
}

/** The output y of product.onnx for the input x. */
async function runProduct(folder: string) {
  const bundle = folderBundle(folder);
  const program = await runtime.open(await bundle.read("product.onnx"), 1, undefined);
  const { y } = await program.run({ x: parseNpy(await bundle.read("x.npy"), "x") }, ["y"]);
  return Array.from(y?.data as Float32Array);
}

const versions = ["1.2 1.10", "1.10 1.2", "1.18 1.18.0", "1.18.1 1.18", "2.0.0-rc1 1.9", "1.9 2"];
const checks: Record<string, (folder: string) => unknown> = {
  corpus: (folder) => checkCorpus(folderBundle(folder)),
  model: (folder) => checkModel(folderBundle(folder), { runtime }),
  bytes: (folder) => checkModel(folderBundle(folder), { runtime, artifact: "bytes.onnx" }),
  plain: (folder) => checkPlainModel(folderBundle(folder), runtime),
  misuse: (folder) => checkMisuse(folderBundle(folder), runtime),
  bundles: checkBundles,
  product: runProduct,
  softmax: () => Array.from(softmax([1000, 1001, -1000])),
  versions: () => versions.map((pair) => isOlder(pair.split(" ")[0] ?? "", pair.split(" ")[1] ?? "")),
};

const [, , name = "", folder = ""] = process.argv;
console.log(JSON.stringify(await checks[name]?.(folder)));
