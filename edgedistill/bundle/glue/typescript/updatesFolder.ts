/** Keeps the bundles of an updater in a folder, for Node. A file of its own, so that web pages need no file system. */

import { mkdir, open, readFile, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";

import type { BundleReader } from "./bundle.ts";
import { folderBundle } from "./folder.ts";
import type { UpdateState, UpdateStore } from "./updates.ts";

/** A store in `folder`, which belongs to it: `state.json`, a folder for each release, and downloads. */
export function folderStore(folder: string): UpdateStore {
  const place = (number: number) => join(folder, `release-${number}`);
  const unpacked = (number: number) => join(folder, `.unpacked-${number}`);
  const download = (sha256: string) => join(folder, `${sha256}.zip`);
  return {
    async state() {
      return readState(await readFile(join(folder, "state.json"), "utf8").catch(() => ""));
    },
    async swap(state) {
      const temporary = join(folder, ".state.json");
      await write(temporary, 0, [new TextEncoder().encode(JSON.stringify(state))]);
      await rename(temporary, join(folder, "state.json"));
    },
    async bundle(number) {
      return (await sizeOf(join(place(number), "manifest.json"))) === 0 ? null : folderBundle(place(number));
    },
    async unpack(number, files): Promise<BundleReader> {
      await rm(unpacked(number), { recursive: true, force: true });
      for (const { path, data } of files) {
        const target = join(unpacked(number), ...path.split("/"));
        await mkdir(dirname(target), { recursive: true });
        await write(target, 0, [data]);
      }
      return folderBundle(unpacked(number));
    },
    async settle(number, keep) {
      if (keep) {
        await rm(place(number), { recursive: true, force: true });
        await rename(unpacked(number), place(number));
      }
      await rm(unpacked(number), { recursive: true, force: true });
    },
    size: (sha256) => sizeOf(download(sha256)),
    async append(sha256, start, pieces) {
      await mkdir(folder, { recursive: true });
      await write(download(sha256), start, pieces);
    },
    read: (sha256) => readFile(download(sha256)),
    remove: (sha256) => rm(download(sha256), { force: true }),
    async tidy(releases, downloads) {
      const kept = new Set(["state.json", ...releases.map(String).map((n) => `release-${n}`)]);
      for (const sha256 of downloads) kept.add(`${sha256}.zip`);
      for (const name of await readdir(folder)) {
        const ours = /^(release-\d+|\.unpacked-\d+|.*\.zip)$/.test(name);
        if (ours && !kept.has(name)) await rm(join(folder, name), { recursive: true, force: true });
      }
    },
  };
}

/** The state that `text` is; null for anything else. */
function readState(text: string): UpdateState | null {
  try {
    const state = JSON.parse(text) as UpdateState;
    return Number.isSafeInteger(state.number) && Number.isSafeInteger(state.serial) ? state : null;
  } catch {
    return null;
  }
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    (found) => found.size,
    () => 0,
  );
}

async function write(path: string, start: number, pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>) {
  const file = await open(path, start > 0 ? "r+" : "w");
  try {
    let place = start;
    for await (const piece of pieces) {
      for (let done = 0; done < piece.length; ) {
        done += (await file.write(piece, done, piece.length - done, place + done)).bytesWritten;
      }
      place += piece.length;
    }
  } finally {
    // The swap must not reach the disk before the files.
    await file.sync();
    await file.close();
  }
}
