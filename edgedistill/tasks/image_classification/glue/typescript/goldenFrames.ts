/** Frames of the bundle with the pixels that the kit made of them. */

import type { Bundle } from "./bundle.ts";
import type { Frame } from "./frame.ts";
import { type Json, list, number, object, string } from "./manifest.ts";

/** How a frame was prepared here. */
export interface TestedFrame {
  /** Its place in `golden_frames`. */
  readonly index: number;
  /** Largest difference of a byte from the kit's result; 255 where the number of bytes differs. */
  readonly largestDifference: number;
}

/** Prepare all frames of the bundle by `pixels`. */
export async function compareFrames(bundle: Bundle, pixels: (frame: Frame) => Uint8Array): Promise<TestedFrame[]> {
  const entries = list(bundle.manifest.document["golden_frames"] ?? [], "golden_frames", object);
  const tested: TestedFrame[] = [];
  for (const [index, entry] of entries.entries()) {
    const where = `golden_frames[${index}]`;
    const frame = frameOf(entry, await bundle.read(string(entry["file"], `${where}.file`)), where);
    const expected = await bundle.read(string(entry["expected"], `${where}.expected`));
    tested.push({ index, largestDifference: differenceOf(pixels(frame), expected) });
  }
  return tested;
}

function frameOf(entry: Json, bytes: Uint8Array, where: string): Frame {
  const planes = list(entry["planes"], `${where}.planes`, (value, place) => {
    const plane = object(value, place);
    return {
      bytes,
      offset: number(plane["offset"], `${place}.offset`),
      rowStride: number(plane["row_stride"], `${place}.row_stride`),
      pixelStride: number(plane["pixel_stride"], `${place}.pixel_stride`),
    };
  });
  // The frame is checked as any other before it is prepared.
  return { ...entry, planes } as unknown as Frame;
}

function differenceOf(found: Uint8Array, expected: Uint8Array): number {
  if (found.length !== expected.length) return 255;
  return found.reduce((largest, value, index) => Math.max(largest, Math.abs(value - expected[index])), 0);
}
