/** node updatesNode.js: an app with an updater, which does what each line of the input asks for. */

import { once } from "node:events";
import { readFile, stat } from "node:fs/promises";
import { createInterface } from "node:readline";

import { ModelError } from "made";
import { type InstallOptions, UpdateError, Updater, shareOf } from "made/updates";
import { folderStore } from "made/updatesFolder";

/** A request of test_updates_languages.py. */
interface Request {
  step: string;
  folder: string;
  url: string;
  installation?: string;
  number?: number;
  version?: string;
  key?: string;
  patched?: string;
}

/** Gives the bytes of `whole` as those of any release; fails where there is no such file. */
function patcher(whole: string) {
  return async (old: Uint8Array, delta: Uint8Array, bytes: number) => {
    if (old.length === 0 || delta.length === 0 || bytes === 0) throw new Error("the files are not there");
    await stat(whole);
    return readFile(whole);
  };
}

function updaterOf(request: Request) {
  const { folder, url, installation = "phone", version, key, patched } = request;
  return new Updater({
    url,
    store: folderStore(folder),
    installation,
    ...(version === undefined ? {} : { appVersion: version }),
    ...(key == null ? {} : { publicKey: Uint8Array.from(Buffer.from(key, "hex")) }),
    ...(patched === undefined ? {} : { patch: patcher(patched) }),
    ...(request.step === "refuse" ? { accept: async () => false } : {}),
  });
}

async function install(updater: Updater, options: InstallOptions = {}): Promise<unknown> {
  const update = await updater.check();
  if (update === null) throw new Error("nothing to install");
  let last = [0, 0];
  const bundle = await updater.install(update, { ...options, progress: (...given) => (last = given) });
  await bundle.read("manifest.json");
  return { installed: `release-${await updater.installed()}`, done: last[0], total: last[1] };
}

/** Cancels when the first bytes came, and installs again. */
async function cancelled(updater: Updater): Promise<string> {
  const [update, controller] = [await updater.check(), new AbortController()];
  if (update === null) throw new Error("nothing to install");
  const options = { signal: controller.signal, progress: () => controller.abort(new Error("the user left")) };
  const end = await updater.install(update, options).then(
    () => "result",
    (error: unknown) => (error instanceof ModelError ? error.kind : String(error)),
  );
  await updater.install(update);
  return `${end}, then release-${await updater.installed()}`;
}

async function answer(request: Request): Promise<unknown> {
  const updater = updaterOf(request);
  switch (request.step) {
    case "share":
      return shareOf(request.installation ?? "", request.number ?? 0);
    case "current": {
      const number = await updater.installed();
      return number === null ? null : `release-${number}`;
    }
    case "check": {
      const update = await updater.check();
      return update && { number: update.number, bytes: update.bytes, goes_back: update.goesBack };
    }
    case "install":
    case "refuse":
      return install(updater);
    case "cancelled":
      return cancelled(updater);
    default:
      throw new Error(`found the step ${request.step}`);
  }
}

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const found = await answer(JSON.parse(line) as Request).then(
    (value) => ({ answer: value }),
    (error: unknown) => {
      const known = error instanceof UpdateError ? "UpdateError" : error instanceof ModelError ? error.kind : "other";
      return { error: known, message: error instanceof Error ? error.message : String(error) };
    },
  );
  console.log(JSON.stringify(found));
});
await once(lines, "close");
