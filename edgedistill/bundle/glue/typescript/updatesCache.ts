/** Keeps the bundles of an updater in the Cache Storage of a page. */

import type { BundleReader } from "./bundle.ts";
import { ModelError } from "./errors.ts";
import type { UpdateState, UpdateStore } from "./updates.ts";
import { joined } from "./updatesServer.ts";

/**
 * A store in the caches `NAME/...` of the page's origin: one for each release, and one for the state. Downloads are in
 * memory: one that was interrupted goes on as long as the page is open. Ask for `navigator.storage.persist()`, so that
 * the browser does not remove them. Throws ModelError of the kind platform where there is no Cache Storage.
 */
export function cacheStore(name: string): UpdateStore {
  if (globalThis.caches === undefined) {
    throw new ModelError("platform", "found no Cache Storage, expected a page by https or from localhost");
  }
  const downloads = new Map<string, Uint8Array[]>();
  const place = (number: number) => `${name}/release-${number}`;
  const unpacked = (number: number) => `${name}/unpacked-${number}`;
  return {
    async state() {
      const found = await (await caches.open(`${name}/state`)).match(address("state.json"));
      return found === undefined ? null : ((await found.json()) as UpdateState);
    },
    async swap(state) {
      await (await caches.open(`${name}/state`)).put(address("state.json"), Response.json(state));
    },
    async bundle(number) {
      const found = (await caches.has(place(number))) && (await caches.open(place(number)));
      return found && (await found.match(address("manifest.json"))) ? cachedBundle(place(number)) : null;
    },
    async unpack(number, files) {
      await caches.delete(unpacked(number));
      const cache = await caches.open(unpacked(number));
      for (const { path, data } of files) await cache.put(address(path), new Response(data as BodyInit));
      return cachedBundle(unpacked(number));
    },
    async settle(number, keep) {
      if (keep) await move(unpacked(number), place(number));
      await caches.delete(unpacked(number));
    },
    async size(sha256) {
      return (downloads.get(sha256) ?? []).reduce((sum, piece) => sum + piece.length, 0);
    },
    async append(sha256, start, pieces) {
      const all = start > 0 ? (downloads.get(sha256) ?? []) : [];
      downloads.set(sha256, all);
      for await (const piece of pieces) all.push(piece);
    },
    read: async (sha256) => joined(downloads.get(sha256) ?? []),
    async remove(sha256) {
      downloads.delete(sha256);
    },
    async tidy(releases, kept) {
      for (const sha256 of downloads.keys()) if (!kept.includes(sha256)) downloads.delete(sha256);
      const stay = [`${name}/state`, ...releases.map(place)];
      const own = (await caches.keys()).filter((each) => each.startsWith(`${name}/`) && !stay.includes(each));
      for (const each of own) await caches.delete(each);
    },
  };
}

/** A cache knows a file by a URL; nothing is fetched from it. */
function address(path: string): string {
  return `https://bundle.invalid/${path.split("/").map(encodeURIComponent).join("/")}`;
}

function cachedBundle(name: string): BundleReader {
  return {
    async read(path) {
      const found = await (await caches.open(name)).match(address(path));
      if (found === undefined) throw new Error(`found no ${path} in the cache ${name}`);
      return new Uint8Array(await found.arrayBuffer());
    },
  };
}

/** Copy the files of a cache to another one, manifest.json last: without it nothing counts as a bundle. */
async function move(from: string, to: string): Promise<void> {
  await caches.delete(to);
  const [source, target] = [await caches.open(from), await caches.open(to)];
  const last = address("manifest.json");
  const requests = (await source.keys()).filter(({ url }) => url !== last);
  for (const request of [...requests, new Request(last)]) {
    const found = await source.match(request);
    if (found !== undefined) await target.put(request, found);
  }
}
