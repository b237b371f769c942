/** Reads files of a repository by `fetch`. */

import { textOf } from "./errors.ts";
import { UpdateError } from "./storedZip.ts";

/** Called with the bytes that are there, and those of all. */
export type Progress = (done: number, total: number) => void;

const mostOfIndex = 4 * 2 ** 20;
const idleMs = 30_000;

/** The bytes of a small file at `url`. Throws UpdateError of the kind missing-file. */
export async function readSmall(url: string): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  try {
    await readFrom(url, 0, mostOfIndex, {}, async (_, arriving) => {
      for await (const piece of arriving) {
        pieces.push(piece);
        size += piece.length;
      }
    });
  } catch (error) {
    throw new UpdateError("missing-file", `${url} can't be read (${textOf(error)}); try again later`, error);
  }
  if (size > mostOfIndex) {
    throw new UpdateError("missing-file", `${url} has more than ${mostOfIndex} bytes; try again later`);
  }
  return joined(pieces);
}

/**
 * Hand the bytes of the file at `url` to `take`, from `start` on, or from the first where the server knows no ranges.
 * Ends after more than `total` bytes, or when nothing arrives for 30 s.
 */
export async function readFrom(
  url: string,
  start: number,
  total: number,
  { progress, signal }: { progress?: Progress | undefined; signal?: AbortSignal | undefined },
  take: (at: number, pieces: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<void> {
  const controller = new AbortController();
  const cancel = () => controller.abort(signal?.reason);
  const giveUp = () => controller.abort(new Error(`nothing arrived for ${idleMs / 1000} s`));
  // Not every fetch ends a read of its body when it is aborted: Node 20 leaves it open.
  const aborted = new Promise<never>((_, reject) => {
    controller.signal.addEventListener("abort", () => reject(controller.signal.reason));
  });
  aborted.catch(() => undefined);
  let timer = setTimeout(giveUp, idleMs);
  signal?.addEventListener("abort", cancel);
  try {
    signal?.throwIfAborted();
    const headers: Record<string, string> = start > 0 ? { Range: `bytes=${start}-` } : {};
    const answer = await fetch(url, { headers, cache: "no-store", signal: controller.signal });
    if (!answer.ok) throw new Error(`the server answers ${answer.status} ${answer.statusText}`.trim());
    const at = answer.status === 206 ? start : 0;
    const pieces = async function* () {
      const reader = answer.body?.getReader();
      for (let done = at; reader !== undefined && done <= total; ) {
        const { value } = await Promise.race([reader.read(), aborted]);
        if (value === undefined) return;
        clearTimeout(timer);
        timer = setTimeout(giveUp, idleMs);
        yield value;
        done += value.length;
        progress?.(Math.min(done, total), total);
      }
    };
    await take(at, pieces());
  } catch (error) {
    // fetch says only "fetch failed", and why in the cause.
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw controller.signal.aborted ? (controller.signal.reason ?? cause) : cause;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", cancel);
    // Ends what was not read.
    controller.abort();
  }
}

/** All `pieces` as one. */
export function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let place = 0;
  for (const piece of pieces) {
    whole.set(piece, place);
    place += piece.length;
  }
  return whole;
}
