/** The index of a repository of updates: reads it, and says for whom a release is. */

import { sha256 } from "./bundle.ts";
import { textOf } from "./errors.ts";
import { isOlder } from "./runtime.ts";
import { UpdateError } from "./storedZip.ts";

const schema = "edgedistill/updates/1";

/** A file of the repository. */
export interface RemoteFile {
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
}

/** What makes the .zip of a release of the older one whose SHA-256 is `base`. */
export interface Delta extends RemoteFile {
  readonly base: string;
}

/** A bundle that was published. */
export interface Release extends RemoteFile {
  readonly number: number;
  readonly percent: number;
  readonly minimumApp: string | null;
  readonly withdrawn: boolean;
  readonly deltas: readonly Delta[];
}

/** `index.json` of a repository. */
export interface UpdatesIndex {
  readonly serial: number;
  readonly releases: readonly Release[];
}

/**
 * Where an installation stands among all for a release, 0 to 100: a release for 10 percent comes to those below 10.
 * number: of the release.
 */
export async function shareOf(installation: string, number: number): Promise<number> {
  const digest = await sha256(new TextEncoder().encode(`${installation}:${number}`));
  return (100 * parseInt(digest.slice(0, 8), 16)) / 2 ** 32;
}

/** Whether `release` is for this installation of an app of this version. */
export async function fits(release: Release, installation: string, appVersion: string): Promise<boolean> {
  if (release.withdrawn || (release.minimumApp !== null && isOlder(appVersion, release.minimumApp))) return false;
  return (await shareOf(installation, release.number)) < release.percent;
}

/** The index that `bytes` are; `name` is what messages call it. Throws UpdateError of the kinds manifest and schema. */
export function parseIndex(bytes: Uint8Array, name: string): UpdatesIndex {
  try {
    const document = JSON.parse(new TextDecoder().decode(bytes));
    const found = text(document, "schema");
    if (found !== schema) {
      throw new UpdateError("schema", `found ${found.slice(0, 100)}, this code reads ${schema}: update the app`);
    }
    return { serial: positive(document, "serial"), releases: list(document, "releases").map(parseRelease) };
  } catch (error) {
    if (error instanceof UpdateError) throw error;
    throw new UpdateError("manifest", `${name} is damaged (${textOf(error)}); try again later`, error);
  }
}

/** Throws UpdateError of the kind signature unless `signature` is that of `index` by the owner of `publicKey`. */
export async function checkIndex(index: Uint8Array, signature: Uint8Array, publicKey: Uint8Array, name: string) {
  const subtle = globalThis.crypto.subtle;
  const wrong = `${name} is not the signature of index.json by this key; nothing was changed, try again later`;
  if (publicKey.length !== 32 || signature.length !== 64) throw new UpdateError("signature", wrong);
  const key = await subtle
    .importKey("raw", publicKey as BufferSource, { name: "Ed25519" }, false, ["verify"])
    .catch((error: unknown) => {
      const found = `this platform cannot use the Ed25519 key (${textOf(error)})`;
      const expected = "expected Node 20, Chrome 137, Safari 17 or Firefox 129, or newer";
      throw new UpdateError("signature", `${found}, ${expected}`, error);
    });
  if (!(await subtle.verify("Ed25519", key, signature as BufferSource, index as BufferSource))) {
    throw new UpdateError("signature", wrong);
  }
}

function parseRelease(entry: unknown): Release {
  const percent = value(entry, "percent");
  if (typeof percent !== "number") throw wrong("percent", percent, "a number");
  return {
    ...parseFile(entry),
    number: positive(entry, "number"),
    percent,
    minimumApp: value(entry, "minimum_app") == null ? null : text(entry, "minimum_app"),
    withdrawn: value(entry, "withdrawn") === true,
    deltas: (value(entry, "deltas") == null ? [] : list(entry, "deltas")).map((delta) => ({
      ...parseFile(delta),
      base: hash(delta, "base"),
    })),
  };
}

function parseFile(entry: unknown): RemoteFile {
  return { file: text(entry, "file"), sha256: hash(entry, "sha256"), bytes: positive(entry, "bytes") };
}

function value(entry: unknown, key: string): unknown {
  if (typeof entry !== "object" || entry === null) throw wrong(`what has ${key}`, entry, "an object");
  return (entry as Record<string, unknown>)[key];
}

function text(entry: unknown, key: string): string {
  const found = value(entry, key);
  if (typeof found !== "string") throw wrong(key, found, "a text");
  return found;
}

/** The hash at `key`. It becomes the name of a file, so nothing else may be there. */
function hash(entry: unknown, key: string): string {
  const found = text(entry, key);
  if (!/^[0-9a-f]{64}$/.test(found)) throw wrong(key, found, "a SHA-256");
  return found;
}

function positive(entry: unknown, key: string): number {
  const found = value(entry, key);
  if (!Number.isSafeInteger(found) || (found as number) < 1) throw wrong(key, found, "a whole number above 0");
  return found as number;
}

function list(entry: unknown, key: string): unknown[] {
  const found = value(entry, key);
  if (!Array.isArray(found)) throw wrong(key, found, "a list");
  return found;
}

function wrong(key: string, found: unknown, expected: string): Error {
  return new Error(`found ${JSON.stringify(found)?.slice(0, 60) ?? "nothing"} as ${key}, expected ${expected}`);
}
