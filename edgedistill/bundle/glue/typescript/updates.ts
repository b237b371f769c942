/**
 * Updates: downloads newer bundles from a repository, proves them, and swaps them in; the last good one stays.
 *
 * A repository is a folder that `edgedistill publish` wrote and that any file server serves. Nothing here runs by
 * itself: the app calls `check` and `install` when it suits, for example once a day.
 */

import { Bundle, type BundleReader, sha256 } from "./bundle.ts";
import { ModelError, textOf } from "./errors.ts";
import { type StoredFile, UpdateError, storedFiles } from "./storedZip.ts";
import { type Release, type RemoteFile, checkIndex, fits, parseIndex } from "./updatesIndex.ts";
import { type Progress, readSmall, readFrom } from "./updatesServer.ts";

export { UpdateError } from "./storedZip.ts";
export { shareOf } from "./updatesIndex.ts";
export type { Progress } from "./updatesServer.ts";

/** Which release is installed. */
export interface UpdateState {
  readonly number: number;
  /** SHA-256 of its .zip, where that is kept. */
  readonly archive: string | null;
  /** The release before, which is kept too. */
  readonly previous: number | null;
  /** Of the newest index that was installed from. */
  readonly serial: number;
}

/** Where bundles are kept: `cacheStore` in a page, `folderStore` in Node. */
export interface UpdateStore {
  /** What is installed; null before the first bundle. */
  state(): Promise<UpdateState | null>;
  /** Write the state at once: whatever interrupts it, the old one or the new one is there. */
  swap(state: UpdateState): Promise<void>;
  /** The bundle of a release; null where it is not there. */
  bundle(number: number): Promise<BundleReader | null>;
  /** Write the files of a release to a place where `bundle` does not find them. */
  unpack(number: number, files: readonly StoredFile[]): Promise<BundleReader>;
  /** Bring what `unpack` wrote to where `bundle` finds it (keep), or remove it. */
  settle(number: number, keep: boolean): Promise<void>;
  /** Bytes of a download that are there. */
  size(sha256: string): Promise<number>;
  /** Write `pieces` into a download, from the byte `start` on; those that came before an error stay. */
  append(sha256: string, start: number, pieces: AsyncIterable<Uint8Array>): Promise<void>;
  /** All bytes of a download. */
  read(sha256: string): Promise<Uint8Array>;
  /** Remove a download. */
  remove(sha256: string): Promise<void>;
  /** Remove all but these releases and downloads. */
  tidy(releases: readonly number[], downloads: readonly string[]): Promise<void>;
}

/** How an app is kept up to date. */
export interface UpdaterOptions {
  /** URL of the repository. */
  readonly url: string;
  readonly store: UpdateStore;
  /** A random text that stays the same for this installation; it decides when a staged release comes here. */
  readonly installation: string;
  /** Version of the app, such as "3.2". */
  readonly appVersion?: string;
  /** The 32 bytes of an Ed25519 key; with it the index has to be signed. */
  readonly publicKey?: Uint8Array;
  /**
   * Asked whether a new bundle is good before it is swapped in, for example by its self-test. By default every file is
   * compared with its hash.
   */
  readonly accept?: (bundle: BundleReader) => Promise<boolean>;
  /**
   * Makes a .zip of `bytes` bytes of the one before and a delta, as `zstd -d --patch-from` does, by a library of zstd.
   * The last .zip is kept for it. Without it, and where it rejects, the whole .zip is downloaded.
   */
  readonly patch?: (old: Uint8Array, delta: Uint8Array, bytes: number) => Promise<Uint8Array>;
}

/** A release that this installation should have. */
export interface Update {
  readonly number: number;
  /** Of its .zip. */
  readonly bytes: number;
  /** Whether it is older than what is installed, which was withdrawn. */
  readonly goesBack: boolean;
  readonly release: Release;
  readonly serial: number;
}

/** How an installation is watched and cancelled. */
export interface InstallOptions {
  /** Called with the bytes that are there, and those of all. */
  readonly progress?: Progress;
  /** Ends the download; the next one goes on where it ended. */
  readonly signal?: AbortSignal;
}

/** Keeps a bundle up to date. */
export class Updater {
  readonly #options: UpdaterOptions;
  readonly #store: UpdateStore;
  readonly #url: string;
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: UpdaterOptions) {
    this.#options = options;
    this.#store = options.store;
    this.#url = options.url.replace(/\/+$/, "");
  }

  /** The installed bundle; null before the first one, when the app takes the one that it ships. */
  async current(): Promise<BundleReader | null> {
    const state = await this.#store.state();
    return state === null ? null : this.#store.bundle(state.number);
  }

  /** The number of the installed release; null before the first one. */
  async installed(): Promise<number | null> {
    return (await this.current()) === null ? null : ((await this.#store.state())?.number ?? null);
  }

  /**
   * The release that this installation should have; null where it has it. Changes nothing. Throws UpdateError where the
   * index can't be had, is not signed by the key, or is older than one that was seen.
   */
  async check(): Promise<Update | null> {
    const { installation, appVersion = "0" } = this.#options;
    const [index, state] = [await this.#index(), await this.#store.state()];
    if (state !== null && index.serial < state.serial) {
      const found = `found an index with the serial ${index.serial}, expected ${state.serial} or more`;
      throw new UpdateError("manifest", `${found}: the server has an old copy; try again later`);
    }
    const isWanted = await Promise.all(index.releases.map((release) => fits(release, installation, appVersion)));
    const fitting = index.releases.filter((_, i) => isWanted[i]);
    if (fitting.length === 0) return null;
    const wanted = fitting.reduce((best, release) => (release.number > best.number ? release : best));
    const installed = state?.number ?? null;
    if (installed !== null && (await this.#store.bundle(installed)) !== null) {
      // A release that is no longer in the index counts as withdrawn.
      const withdrawn = index.releases.find((release) => release.number === installed)?.withdrawn ?? true;
      if (wanted.number === installed || (wanted.number < installed && !withdrawn)) return null;
    }
    const goesBack = installed !== null && wanted.number < installed;
    return { number: wanted.number, bytes: wanted.bytes, goesBack, release: wanted, serial: index.serial };
  }

  /**
   * Download a release, prove it, and swap it in. Until the last step the bundle before counts, and it stays as the
   * last good one. Gives the installed bundle. Throws UpdateError where the download, a hash or `accept` failed (call
   * again, later), and ModelError of the kind cancelled.
   */
  install(update: Update, options: InstallOptions = {}): Promise<BundleReader> {
    const result = this.#last.then(() => this.#install(update, options));
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #install(update: Update, options: InstallOptions): Promise<BundleReader> {
    const { number, release, serial } = update;
    const { accept = hasItsHashes, patch } = this.#options;
    const store = this.#store;
    const bytes = (await this.#fromDelta(release, options)) ?? (await this.#download(release, options));
    const before = (await store.state())?.number ?? null;
    let keep = false;
    try {
      if (!(await accept(await store.unpack(number, storedFiles(bytes))))) {
        throw new UpdateError("runtime", `release ${number} failed its test on this device; the old one stays`);
      }
      keep = before !== number || (await store.bundle(number)) === null;
    } finally {
      await store.settle(number, keep);
    }
    // This is the swap: before it the old bundle counts, behind it the new one.
    const archive = patch === undefined ? null : release.sha256;
    await store.swap({ number, archive, previous: before, serial });
    await store.tidy(before === null ? [number] : [number, before], archive === null ? [] : [archive]);
    const installed = await store.bundle(number);
    if (installed === null) throw new UpdateError("missing-file", `release ${number} is gone; call install again`);
    return installed;
  }

  async #index() {
    const bytes = await readSmall(`${this.#url}/index.json`);
    const { publicKey } = this.#options;
    if (publicKey !== undefined) {
      const name = `${this.#url}/index.sig`;
      await checkIndex(bytes, await readSmall(name), publicKey, name);
    }
    return parseIndex(bytes, `${this.#url}/index.json`);
  }

  /** The .zip of a release, made of the installed one; null where that can't be done. */
  async #fromDelta(release: Release, options: InstallOptions): Promise<Uint8Array | null> {
    const [{ patch }, store] = [this.#options, this.#store];
    const base = (await store.state())?.archive;
    const delta = release.deltas.find((each) => each.base === base);
    if (patch === undefined || base == null || delta === undefined) return null;
    if ((await store.size(release.sha256)) > 0 || (await store.size(base)) === 0) return null;
    const packed = await this.#download(delta, options);
    // Where this fails, the installed .zip was damaged: the whole new one does not need it.
    const made = await patch(await store.read(base), packed, release.bytes).catch(() => null);
    await store.remove(delta.sha256);
    if (made === null || (await sha256(made)) !== release.sha256) return null;
    await store.append(release.sha256, 0, once(made));
    return made;
  }

  /** Download a file of the repository, from where an earlier download of it ended. */
  async #download(remote: RemoteFile, { progress, signal }: InstallOptions): Promise<Uint8Array> {
    const [store, name] = [this.#store, `${this.#url}/${remote.file}`];
    if ((await store.size(remote.sha256)) > remote.bytes) await store.remove(remote.sha256);
    const start = await store.size(remote.sha256);
    try {
      if (start < remote.bytes) {
        await readFrom(name, start, remote.bytes, { progress, signal }, (at, pieces) =>
          store.append(remote.sha256, at, pieces),
        );
      }
    } catch (error) {
      if (signal?.aborted) {
        throw new ModelError("cancelled", `the update was cancelled (${textOf(signal.reason)})`, signal.reason);
      }
      const found = `${name} can't be read (${textOf(error)})`;
      throw new UpdateError("missing-file", `${found}; call install again to go on`, error);
    }
    const size = await store.size(remote.sha256);
    if (size < remote.bytes) {
      const found = `${name} ended after ${size} of ${remote.bytes} bytes`;
      throw new UpdateError("missing-file", `${found}; call install again to go on`);
    }
    const bytes = await store.read(remote.sha256);
    if ((await sha256(bytes)) === remote.sha256) return bytes;
    await store.remove(remote.sha256);
    const expected = `expected the file with the SHA-256 ${remote.sha256.slice(0, 12)}`;
    throw new UpdateError("hash", `${name} was changed or damaged, ${expected}; try again later`);
  }
}

async function* once(piece: Uint8Array): AsyncGenerator<Uint8Array> {
  yield piece;
}

async function hasItsHashes(reader: BundleReader): Promise<boolean> {
  const bundle = await Bundle.open(reader);
  for (const path of bundle.manifest.files.keys()) await bundle.read(path);
  return true;
}
