/** Reads a .zip whose files are stored as they are, as edgedistill writes it: nothing has to be inflated. */

import { ModelError } from "./errors.ts";

/** An update failed. The bundle that was there stays. */
export class UpdateError extends ModelError {}

/** A file of an archive; `data` is a part of the archive's own bytes. */
export interface StoredFile {
  readonly path: string;
  readonly data: Uint8Array;
}

const signatures = { end: 0x06054b50, central: 0x02014b50, local: 0x04034b50 };
const lengths = { end: 22, central: 46, local: 30 };
const kinds = { unknown: 0, folder: 0x4, plain: 0x8 };

/**
 * All files of the .zip that `archive` is. Compressed files, links, paths that leave the folder, and entries that share
 * bytes, by which a small archive fills a disk, are refused. Throws UpdateError of the kind path.
 */
export function storedFiles(archive: Uint8Array): StoredFile[] {
  try {
    return readFiles(archive);
  } catch (error) {
    // What a DataView throws where it ends.
    if (!(error instanceof RangeError)) throw error;
    throw new UpdateError("path", `the downloaded bundle can't be unpacked (${error.message}); do not use it`, error);
  }
}

function readFiles(archive: Uint8Array): StoredFile[] {
  const view = new DataView(archive.buffer, archive.byteOffset, archive.byteLength);
  const end = findEnd(view);
  const [size, offset] = [view.getUint32(end + 12, true), view.getUint32(end + 16, true)];
  if (offset + size > end) throw damaged();
  const files = new Map<string, StoredFile>();
  let total = 0;
  for (let place = offset; place < offset + size; ) {
    if (view.getUint32(place, true) !== signatures.central) throw damaged();
    const name = view.getUint16(place + 28, true);
    const next = place + lengths.central + name + view.getUint16(place + 30, true) + view.getUint16(place + 32, true);
    if (next > offset + size) throw damaged();
    const path = new TextDecoder().decode(archive.subarray(place + lengths.central, place + lengths.central + name));
    if (!path.endsWith("/")) {
      checkEntry(path, view, place);
      if (files.has(path)) throw new UpdateError("path", `the downloaded bundle has ${path} twice; do not use it`);
      const data = dataOf(archive, view, place, offset);
      files.set(path, { path, data });
      total += data.length;
    }
    place = next;
  }
  if (total > offset) throw new UpdateError("path", "the downloaded bundle would fill the disk; do not use it");
  return [...files.values()];
}

function findEnd(view: DataView): number {
  const first = Math.max(0, view.byteLength - lengths.end - 0xffff);
  for (let place = view.byteLength - lengths.end; place >= first; place--) {
    const found = view.getUint32(place, true) === signatures.end;
    if (found && place + lengths.end + view.getUint16(place + 20, true) === view.byteLength) return place;
  }
  throw damaged();
}

function checkEntry(path: string, view: DataView, place: number): void {
  const stays = path.split("/").every((name) => name !== "" && name !== "." && name !== "..");
  if (!stays || /[\\:\0]/.test(path)) {
    throw new UpdateError("path", `the path '${path}' is not allowed in a bundle; do not use it`);
  }
  // The upper half has the mode of a file on a Unix system.
  const kind = view.getUint32(place + 38, true) >>> 28;
  if (kind !== kinds.unknown && kind !== kinds.plain && kind !== kinds.folder) {
    const found = `${path} is a link or no plain file, which a bundle must not have`;
    throw new UpdateError("path", `${found}; do not use it`);
  }
  const encrypted = (view.getUint16(place + 8, true) & 1) !== 0;
  const sizes = [view.getUint32(place + 20, true), view.getUint32(place + 24, true)];
  if (encrypted || view.getUint16(place + 10, true) !== 0 || sizes[0] !== sizes[1]) {
    const found = `${path} is compressed, expected a stored file`;
    throw new UpdateError("path", `${found}: publish the .zip of edgedistill bundle`);
  }
}

function dataOf(archive: Uint8Array, view: DataView, place: number, limit: number): Uint8Array {
  const local = view.getUint32(place + 42, true);
  if (view.getUint32(local, true) !== signatures.local) throw damaged();
  const start = local + lengths.local + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
  const end = start + view.getUint32(place + 24, true);
  if (end > limit) throw damaged();
  return archive.subarray(start, end);
}

function damaged(): RangeError {
  return new RangeError("it is damaged, or no .zip of less than 4 GiB");
}
