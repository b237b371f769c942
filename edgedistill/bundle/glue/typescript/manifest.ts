/** Reads manifest.json: every field that this code uses is checked, and named where it is wrong. */

import { ModelError } from "./errors.ts";

/** The schema that this code reads. */
export const manifestSchema = "edgedistill/manifest/3";

/** A named tensor of an artifact. */
export interface TensorSpec {
  readonly name: string;
  /** numpy's name of the type, such as "float32". */
  readonly dtype: string;
  /** Sizes; a text names a size that varies. */
  readonly shape: readonly (number | string)[];
  /** What the numbers are. */
  readonly meaning: string;
}

/** Samples as an artifact takes them, and what it gave for them. */
export interface Golden {
  /** Number of samples. */
  readonly count: number;
  /** Paths of .npy files [count, ...], by the name of the input. */
  readonly inputs: ReadonlyMap<string, string>;
  /** The same by the name of the output; null where nothing could run the artifact when the bundle was made. */
  readonly outputs: ReadonlyMap<string, string> | null;
  /** Largest difference allowed, by the name of the output. */
  readonly tolerance: ReadonlyMap<string, number>;
}

/** A program of the bundle. */
export interface Artifact {
  /** Its path in the bundle. */
  readonly name: string;
  readonly format: string;
  readonly precision: string;
  /** What the program takes, such as "float32-nchw". */
  readonly input: string;
  readonly sha256: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** Oldest version that runs it, by the name of the runtime's package. */
  readonly minimumRuntime: ReadonlyMap<string, string>;
  readonly golden: Golden;
}

/** What a bundle holds. */
export interface Manifest {
  readonly name: string;
  readonly task: string;
  /** Names of artifacts, the one to take first before the others. */
  readonly order: readonly string[];
  readonly artifacts: readonly Artifact[];
  /** SHA-256 of the files of the bundle, by path. */
  readonly files: ReadonlyMap<string, string>;
  /** The whole document; a task reads its own entries here. */
  readonly document: Json;
}

/** An object of JSON. */
export type Json = { readonly [key: string]: unknown };

/** Parse manifest.json. Throws ModelError of the kinds manifest, schema and path. */
export function parseManifest(bytes: Uint8Array): Manifest {
  const text = new TextDecoder().decode(bytes);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const start = JSON.stringify(text.slice(0, 24));
    throw new ModelError("manifest", `manifest.json starts with ${start}, expected JSON: copy the bundle again`, error);
  }
  const document = object(value, "the whole file");
  checkSchema(document["schema"]);
  const files = entries(document["files"], "files", string);
  [...files.keys()].forEach(checkPath);
  const artifacts = list(document["artifacts"], "artifacts", parseArtifact);
  const order = list(object(document["ship"], "ship")["order"], "ship.order", string);
  return {
    name: string(document["name"], "name"),
    task: string(document["task"], "task"),
    order,
    artifacts,
    files,
    document,
  };
}

/** Throws ModelError of the kind path unless `path` is relative, with `/` between names, and without `..`. */
export function checkPath(path: string): void {
  const names = path.split("/");
  const stays = names.every((name) => name !== "" && name !== "." && name !== "..");
  if (!stays || /[\\:\0]/.test(path)) {
    const expected = "expected a relative path without '..', with '/' between names";
    throw new ModelError("path", `manifest.json names the file '${path}', ${expected}: do not use this bundle`);
  }
}

function checkSchema(found: unknown): void {
  if (found === manifestSchema) return;
  const version = typeof found === "string" ? /^edgedistill\/manifest\/(\d+)$/.exec(found)?.[1] : undefined;
  const newer = version !== undefined && Number(version) > Number(manifestSchema.split("/")[2]);
  const advice = newer ? "update the app's glue code" : "take a bundle that this version of edgedistill wrote";
  throw new ModelError("schema", `found ${found ?? "no schema"}, this code reads ${manifestSchema}: ${advice}`);
}

function parseArtifact(value: unknown, where: string): Artifact {
  const entry = object(value, where);
  const signature = object(entry["signature"], `${where}.signature`);
  const name = string(entry["name"], `${where}.name`);
  checkPath(name);
  return {
    name,
    format: string(entry["format"], `${where}.format`),
    precision: string(entry["precision"], `${where}.precision`),
    input: string(entry["input"], `${where}.input`),
    sha256: string(entry["sha256"], `${where}.sha256`),
    inputs: list(signature["inputs"], `${where}.signature.inputs`, parseSpec),
    outputs: list(signature["outputs"], `${where}.signature.outputs`, parseSpec),
    minimumRuntime: entries(entry["minimum_runtime"], `${where}.minimum_runtime`, string),
    golden: parseGolden(entry["golden"], `${where}.golden`),
  };
}

function parseSpec(value: unknown, where: string): TensorSpec {
  const spec = object(value, where);
  return {
    name: string(spec["name"], `${where}.name`),
    dtype: string(spec["dtype"], `${where}.dtype`),
    shape: list(spec["shape"], `${where}.shape`, size),
    meaning: string(spec["meaning"], `${where}.meaning`),
  };
}

function parseGolden(value: unknown, where: string): Golden {
  const golden = object(value, where);
  const outputs = golden["outputs"] ?? null;
  return {
    count: number(golden["count"], `${where}.count`),
    inputs: entries(golden["inputs"], `${where}.inputs`, filePath),
    outputs: outputs === null ? null : entries(outputs, `${where}.outputs`, filePath),
    tolerance: entries(golden["tolerance"] ?? {}, `${where}.tolerance`, number),
  };
}

function filePath(value: unknown, where: string): string {
  const path = string(object(value, where)["path"], `${where}.path`);
  checkPath(path);
  return path;
}

function size(value: unknown, where: string): number | string {
  return typeof value === "string" ? value : number(value, where);
}

/** `value` as an object; throws ModelError that names the field `where`. */
export function object(value: unknown, where: string): Json {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw wrong(value, where, "an object");
}

/** `value` as a text. */
export function string(value: unknown, where: string): string {
  if (typeof value === "string") return value;
  throw wrong(value, where, "a text");
}

/** `value` as a number. */
export function number(value: unknown, where: string): number {
  if (typeof value === "number") return value;
  throw wrong(value, where, "a number");
}

/** `value` as a list, each element read by `read`. */
export function list<T>(value: unknown, where: string, read: (element: unknown, where: string) => T): T[] {
  if (!Array.isArray(value)) throw wrong(value, where, "a list");
  return value.map((element, index) => read(element, `${where}[${index}]`));
}

/** `value` as an object whose values are all read by `read`. */
export function entries<T>(
  value: unknown,
  where: string,
  read: (element: unknown, where: string) => T,
): Map<string, T> {
  const pairs = Object.entries(object(value, where));
  return new Map(pairs.map(([key, element]) => [key, read(element, `${where}.${key}`)]));
}

/** An error that says what the field `where` holds and what it should. */
export function wrong(found: unknown, where: string, expected: string): ModelError {
  const text = found === undefined ? "nothing" : JSON.stringify(found).slice(0, 60);
  return new ModelError(
    "manifest",
    `manifest.json: ${where}: found ${text}, expected ${expected}: copy the bundle again`,
  );
}
