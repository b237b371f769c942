/** Pixels in memory, as cameras and decoders give them. */

import { ModelError } from "./errors.ts";

/** A part of a frame's pixels. All numbers are bytes. */
export interface Plane {
  readonly bytes: Uint8Array | Uint8ClampedArray;
  /** Where the first sample is; 0 by default. */
  readonly offset?: number;
  /** From a row to the next. */
  readonly rowStride: number;
  /** From a sample to the next in the row. */
  readonly pixelStride: number;
}

/** One plane of interleaved channels of 8 bits; alpha is not premultiplied. grey16 is little endian. */
export type PackedFormat = "rgb8" | "bgr8" | "rgba8" | "bgra8" | "grey8" | "grey16";

interface Common {
  /** Width and height in pixels, as stored, before `orientation` is applied. */
  readonly width: number;
  readonly height: number;
  /** EXIF's number of what must be done to show the frame upright, 1 to 8; 1, nothing, by default. */
  readonly orientation?: number;
  readonly planes: readonly Plane[];
}

/** A frame of one plane. */
export interface PackedFrame extends Common {
  readonly format: PackedFormat;
}

/**
 * A frame of three planes Y, U and V; U and V have one sample for 2 x 2 pixels, rounded up.
 * I420, NV12 and NV21 differ only in offsets and strides.
 */
export interface YuvFrame extends Common {
  readonly format: "yuv420";
  /** The standard of the colours: bt601 for most photos and cameras, bt709 for most HD video. */
  readonly matrix: "bt601" | "bt709";
  /** full: Y from 0 to 255; video: Y from 16 to 235. */
  readonly range: "full" | "video";
}

/** An image to predict on. */
export type Frame = PackedFrame | YuvFrame;

/** Bytes of a sample by format. */
const sampleBytes = { rgb8: 3, bgr8: 3, rgba8: 4, bgra8: 4, grey8: 1, grey16: 2, yuv420: 1 } as const;
const largestRatio = 50;

/** A frame of one plane without gaps between its rows. bytes: [height, width, channels]. */
export function packedFrame(
  format: PackedFormat,
  width: number,
  height: number,
  bytes: Uint8Array | Uint8ClampedArray,
  orientation = 1,
): PackedFrame {
  const pixelStride = sampleBytes[format];
  return { format, width, height, orientation, planes: [{ bytes, rowStride: width * pixelStride, pixelStride }] };
}

/** Throws ModelError of the kind input unless the frame's planes hold all its pixels. */
export function checkFrame(frame: Frame): void {
  const { format, width, height, orientation = 1, planes } = frame;
  if (!Object.hasOwn(sampleBytes, format)) throw bad(`the format ${format}`, Object.keys(sampleBytes).join(", "));
  if (![width, height].every((side) => Number.isInteger(side) && side > 0)) {
    throw bad(`${width} x ${height} pixels`, "whole numbers above 0");
  }
  if (Math.max(width, height) > largestRatio * Math.min(width, height)) {
    throw bad(`${width} x ${height} pixels`, `a long side of at most ${largestRatio} times the short one`);
  }
  if (!Number.isInteger(orientation) || orientation < 1 || orientation > 8) {
    throw bad(`the orientation ${orientation}`, "EXIF's 1 to 8");
  }
  if (frame.format === "yuv420") {
    if (frame.matrix !== "bt601" && frame.matrix !== "bt709") throw bad(`the matrix ${frame.matrix}`, "bt601 or bt709");
    if (frame.range !== "full" && frame.range !== "video") throw bad(`the range ${frame.range}`, "full or video");
  }
  const count = format === "yuv420" ? 3 : 1;
  if (planes.length !== count) throw bad(`${planes.length} planes`, `${count} for ${format}`);
  planes.forEach((plane, index) => {
    const part = index === 0 ? 1 : 2;
    checkPlane(plane, `plane ${index}`, Math.ceil(width / part), Math.ceil(height / part), sampleBytes[format]);
  });
}

function checkPlane(plane: Plane, where: string, width: number, height: number, bytes: number): void {
  const { offset = 0, rowStride, pixelStride } = plane;
  const row = (width - 1) * pixelStride + bytes;
  if (![offset, rowStride, pixelStride].every((value) => Number.isInteger(value) && value >= 0)) {
    throw bad(`${where} with offset ${offset} and strides ${rowStride} and ${pixelStride}`, "whole numbers of bytes");
  }
  if (pixelStride < bytes) throw bad(`${where} with a pixel stride of ${pixelStride}`, `at least ${bytes} bytes`);
  if (rowStride < row) throw bad(`${where} with a row stride of ${rowStride}`, `at least ${row} bytes`);
  const end = offset + (height - 1) * rowStride + row;
  if (plane.bytes.length < end) throw bad(`${where} of ${plane.bytes.length} bytes`, `at least ${end}`);
}

function bad(found: string, expected: string): ModelError {
  return new ModelError("input", `frame: found ${found}, expected ${expected}: check how the frame is described`);
}
