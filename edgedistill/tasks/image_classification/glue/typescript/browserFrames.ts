/** Frames from what a browser has: canvases, images, and the frames of cameras and videos. */

import { ModelError } from "./errors.ts";
import { type Frame, type Plane, packedFrame } from "./frame.ts";

/** A frame from ImageData, whose pixels are sRGB with alpha that is not premultiplied. */
export function frameFromImageData(image: ImageData): Frame {
  return packedFrame("rgba8", image.width, image.height, image.data);
}

/**
 * A frame from what a canvas can draw, such as an `<img>` that is loaded, an ImageBitmap or a canvas.
 *
 * A browser applies EXIF orientation and colour profiles when it draws. Half-transparent pixels lose up to some steps
 * of 255, because a canvas keeps them premultiplied. width, height: in pixels; by default the source's own size.
 */
export function frameFromImage(
  source: HTMLImageElement | ImageBitmap | HTMLCanvasElement | OffscreenCanvas | HTMLVideoElement,
): Frame {
  const natural = source as Partial<HTMLImageElement & HTMLVideoElement>;
  const width = natural.naturalWidth ?? natural.videoWidth ?? source.width;
  const height = natural.naturalHeight ?? natural.videoHeight ?? source.height;
  if (width === 0 || height === 0) {
    throw new ModelError(
      "input",
      `found an image of ${width} x ${height} pixels, expected one that is loaded: wait for it`,
    );
  }
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (context === null) throw new ModelError("platform", "found no 2D canvas, expected one: use frameFromImageData");
  context.drawImage(source, 0, 0);
  return frameFromImageData(context.getImageData(0, 0, width, height));
}

/** A frame of a camera or video (WebCodecs), without a canvas. `video` may be closed when the promise is settled. */
export async function frameFromVideoFrame(video: VideoFrame): Promise<Frame> {
  const rect = video.visibleRect;
  if (video.format === null || rect === null) {
    throw new ModelError(
      "input",
      "found a VideoFrame without pixels in memory, expected a format: draw it, and use frameFromImage",
    );
  }
  const bytes = new Uint8Array(video.allocationSize());
  const layout = await video.copyTo(bytes);
  const plane = (index: number, pixelStride: number, shift = 0): Plane => {
    const { offset, stride } = layout[index];
    return { bytes, offset: offset + shift, rowStride: stride, pixelStride };
  };
  const common = { width: rect.width, height: rect.height, orientation: orientationOf(video) };
  switch (video.format) {
    case "I420":
      return { ...common, format: "yuv420", ...colours(video), planes: [plane(0, 1), plane(1, 1), plane(2, 1)] };
    case "NV12":
      return { ...common, format: "yuv420", ...colours(video), planes: [plane(0, 1), plane(1, 2), plane(1, 2, 1)] };
    case "RGBA":
      return { ...common, format: "rgba8", planes: [plane(0, 4)] };
    case "BGRA":
      return { ...common, format: "bgra8", planes: [plane(0, 4)] };
    case "RGBX":
      return { ...common, format: "rgb8", planes: [plane(0, 4)] };
    case "BGRX":
      return { ...common, format: "bgr8", planes: [plane(0, 4)] };
    default:
      throw unsupported(`the format ${video.format}`, "I420, NV12, RGBA, BGRA, RGBX or BGRX");
  }
}

function colours(video: VideoFrame): { matrix: "bt601" | "bt709"; range: "full" | "video" } {
  const { matrix, fullRange } = video.colorSpace;
  const range = fullRange ? "full" : "video";
  if (matrix === "bt709") return { matrix, range };
  if (matrix === "smpte170m" || matrix === "bt470bg") return { matrix: "bt601", range };
  throw unsupported(`the colour matrix ${matrix}`, "bt709, smpte170m or bt470bg");
}

/** EXIF's number for a clockwise rotation, then a mirror: the newer part of WebCodecs, which not every browser has. */
function orientationOf(video: VideoFrame): number {
  const { rotation = 0, flip = false } = video as { rotation?: number; flip?: boolean };
  return (flip ? [2, 5, 4, 7] : [1, 6, 3, 8])[(rotation / 90) % 4];
}

function unsupported(found: string, expected: string): ModelError {
  return new ModelError(
    "input",
    `found a VideoFrame with ${found}, expected ${expected}: draw it, and use frameFromImage`,
  );
}
