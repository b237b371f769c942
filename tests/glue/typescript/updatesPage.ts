/** Updates in a page: installs from the repositories under /bundle/, and sends what happened to the server. */

import { ModelError, urlBundle } from "made";
import { UpdateError, Updater, type UpdaterOptions } from "made/updates";
import { cacheStore } from "made/updatesCache";

const store = cacheStore("small");

async function read(updater: Updater): Promise<string> {
  const bundle = await updater.current();
  return bundle === null ? "none" : new TextDecoder().decode(await bundle.read("README.md"));
}

/** Install from a repository; what is there afterwards, or the error. */
async function install(repository: string, options: Partial<UpdaterOptions> = {}) {
  const updater = new Updater({ url: `/bundle/${repository}/`, store, installation: "page", ...options });
  let last: readonly number[] = [];
  try {
    const update = await updater.check();
    if (update !== null) await updater.install(update, { progress: (...given) => (last = given) });
    const { number = null, goesBack = null } = update ?? {};
    return { number, goesBack, last, readme: await read(updater) };
  } catch (error) {
    const known = error instanceof UpdateError ? "UpdateError" : error instanceof ModelError ? error.kind : "other";
    return { error: known, message: String(error), readme: await read(updater) };
  }
}

async function filesOf(cache: string) {
  const requests = await (await caches.open(cache)).keys();
  return requests.map(({ url }) => decodeURI(new URL(url).pathname)).sort();
}

async function check() {
  const key = new Uint8Array(await urlBundle("/bundle/").read("key.bin"));
  return {
    first: await install("first"),
    again: await install("first"),
    // Before any other: a download that is whole is not repeated.
    changed: await install("changed"),
    refused: await install("second", { accept: async () => false }),
    harmful: await install("harmful"),
    unsigned: await install("second", { publicKey: key }),
    missing: await install("nothing"),
    second: await install("second"),
    caches: (await caches.keys()).sort(),
    withdrawn: await install("withdrawn"),
    older: await install("first"),
    files: await filesOf("small/release-1"),
  };
}

const result = await check().catch((error: unknown) => ({
  error: error instanceof Error ? error.stack : String(error),
}));
await fetch("/result", { method: "POST", body: JSON.stringify(result) });
