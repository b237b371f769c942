/**
 * Writes dist/: the page, the runtime, the bundle's compiled glue code, and what the page needs of the bundle.
 *
 *     npm run build -- BUNDLE [--out DIR]
 */

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cp, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const here = dirname(fileURLToPath(import.meta.url));
const staging = join(here, "build");
/** The module that the import map names, and what it loads. */
const runtimeFiles = ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"];
const formats = ["onnx", "ort"];

/** npm runs scripts in the folder of package.json; paths are meant from where the user is. */
const from = process.env["INIT_CWD"] ?? process.cwd();

/** A mistake of the user's, told without a stack. */
class Mistake extends Error {}

async function main() {
  const { bundle, out } = options();
  await checkBundle(bundle);
  await checkOut(out);
  await rm(staging, { recursive: true, force: true });
  await compile(bundle);
  // A build that fails leaves the last one as it is.
  const whole = join(staging, "dist");
  await assemble(bundle, whole);
  await rm(out, { recursive: true, force: true });
  await cp(whole, out, { recursive: true });
  await rm(whole, { recursive: true });
  await report(out);
}

async function assemble(bundle, out) {
  await cp(join(here, "page"), out, { recursive: true });
  await cp(join(staging, "app"), join(out, "app"), { recursive: true });
  await cp(join(staging, "model", "dist"), join(out, "model"), { recursive: true, filter: isScript });
  await mkdir(join(out, "runtime"));
  const runtime = dirname(fileURLToPath(import.meta.resolve("onnxruntime-web/wasm")));
  for (const name of runtimeFiles) await cp(join(runtime, name), join(out, "runtime", name));
  const later = await copyBundle(bundle, join(out, "bundle"));
  await allowImportMap(join(out, "index.html"));
  await writeWorker(out, later);
}

function options() {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { out: { type: "string" } } });
  const usage = "npm run build -- BUNDLE [--out DIR]";
  if (positionals.length !== 1) throw new Mistake(`found ${positionals.length} folders, expected one: ${usage}`);
  const out = values.out === undefined ? join(here, "dist") : resolve(from, values.out);
  return { bundle: resolve(from, positionals[0]), out };
}

/** The folder is replaced, so it must be new, empty, or an earlier build. */
async function checkOut(out) {
  const found = await readdir(out).catch(() => []);
  if (found.length > 0 && !found.includes("sw.js")) {
    throw new Mistake(`--out ${out}: found files that are no build of this page, expected a new folder`);
  }
}

async function checkBundle(bundle) {
  const advice = "write one with `edgedistill bundle RUN --target web`";
  const text = await readFile(join(bundle, "manifest.json"), "utf8").catch((error) => {
    throw new Mistake(`${bundle} is no bundle (${error.message}): ${advice}`);
  });
  const { task } = JSON.parse(text);
  if (task !== "image-classification") {
    throw new Mistake(`${bundle}: found the task ${task}, this app shows models of image-classification`);
  }
  await readdir(join(bundle, "typescript", "src")).catch(() => {
    throw new Mistake(`${bundle}: found no glue code in typescript/, expected a bundle for the web: ${advice}`);
  });
}

/** Compile the bundle's package as npm does when it installs it, then the app and its service worker. */
async function compile(bundle) {
  await cp(join(bundle, "typescript"), join(staging, "model"), { recursive: true });
  const compiler = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin", "tsc");
  for (const project of [join(staging, "model"), here, join(here, "worker")]) {
    const done = spawnSync(process.execPath, [compiler, "-p", project], { cwd: here, encoding: "utf8" });
    if (done.status !== 0) throw new Mistake(`tsc -p ${project} failed:\n${done.stdout}${done.stderr}`);
  }
}

function isScript(path) {
  return !path.endsWith(".d.ts") && !path.endsWith(`${sep}folder.js`);
}

/**
 * Copy the manifest, the programs that ONNX Runtime runs, and the golden values; the glue code checks each hash.
 * Gives the files that a page needs only when the user asks for another program than the first.
 */
async function copyBundle(bundle, out) {
  const glue = (name) => import(pathToFileURL(join(staging, "model", "dist", `${name}.js`)).href);
  const [{ Bundle }, { folderBundle }] = [await glue("bundle"), await glue("folder")];
  const reader = folderBundle(bundle);
  const opened = await Bundle.open(reader);
  const { artifacts, files, order } = opened.manifest;
  const usable = artifacts.filter((artifact) => formats.includes(artifact.format)).map((artifact) => artifact.name);
  if (usable.length === 0) {
    const found = artifacts.map((artifact) => artifact.format).join(", ");
    throw new Mistake(`${bundle}: found programs of the formats ${found}, expected ${formats.join(" or ")}`);
  }
  const write = async (name, bytes) => {
    await mkdir(dirname(join(out, name)), { recursive: true });
    await writeFile(join(out, name), bytes);
  };
  await write("manifest.json", await reader.read("manifest.json"));
  const wanted = [...files.keys()].filter((name) => usable.includes(name) || name.startsWith("golden/"));
  for (const name of wanted) await write(name, await opened.read(name));
  const [first] = order.filter((name) => usable.includes(name));
  return usable.filter((name) => name !== first).map((name) => `bundle/${name}`);
}

/** The page's policy allows no inline script but the import map, by its hash. */
async function allowImportMap(path) {
  const text = await readFile(path, "utf8");
  const [, map] = /<script type="importmap">([^]*?)<\/script>/.exec(text);
  await writeFile(path, text.replace("IMPORT-MAP", createHash("sha256").update(map).digest("base64")));
}

/** The service worker keeps the files of one build, by their hashes. */
async function writeWorker(out, later) {
  const files = {};
  for (const path of await filesIn(out)) {
    const name = relative(out, path).split(sep).join("/");
    files[name] = createHash("sha256").update(await readFile(path)).digest("hex");
  }
  const version = createHash("sha256").update(JSON.stringify(files)).digest("hex").slice(0, 12);
  const code = await readFile(join(staging, "worker", "sw.js"), "utf8");
  await writeFile(join(out, "sw.js"), `const build = ${JSON.stringify({ version, files, later }, null, 1)};\n${code}`);
}

async function filesIn(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return files.map((entry) => join(entry.parentPath ?? entry.path, entry.name)).sort();
}

async function report(out) {
  let bytes = 0;
  for (const path of await filesIn(out)) bytes += (await readFile(path)).length;
  console.log(`${out}: ${(bytes / 1e6).toFixed(1)} MB`);
  console.log(`python3 -m http.server --bind 127.0.0.1 --directory ${relative(from, out) || out}`);
}

try {
  await main();
} catch (error) {
  if (!(error instanceof Mistake) && error.name !== "ModelError") throw error;
  console.error(error.message);
  process.exitCode = 2;
}
