/** Image files, as sources for the model. */

import type { Source } from "./classifier.ts";
import { Problem } from "./problem.ts";

/** Pixels that every browser can draw at once: older Safari draws nothing on larger canvases, and says nothing. */
const largestArea = 16_777_216;

/** Show the file in `image`, and give what the model takes. Throws Problem where it is no image. */
export async function openImage(file: Blob & { readonly name?: string }, image: HTMLImageElement): Promise<Source> {
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(file);
  try {
    await image.decode();
  } catch (error) {
    const found = `${file.name ?? "The file"} (${file.type || "unknown type"})`;
    throw new Problem(
      "This file is no image that the browser can read",
      `${found} was not decoded. Choose a JPEG, PNG, WebP or AVIF file.`,
      error,
    );
  }
  return reduced(image);
}

/** The image, or a canvas with a half, third ... of its sides. */
function reduced(image: HTMLImageElement): Source {
  const { naturalWidth: width, naturalHeight: height } = image;
  const factor = Math.ceil(Math.sqrt((width * height) / largestArea));
  if (factor <= 1) return image;
  const canvas = new OffscreenCanvas(Math.round(width / factor), Math.round(height / factor));
  const context = canvas.getContext("2d");
  if (context === null) return image;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/**
 * Whether pixels that are drawn are read back as they are. Protection against fingerprinting, such as Firefox's
 * resistFingerprinting, changes them, and predictions with them, without an error.
 */
export function readsPixelsUnchanged(): boolean {
  const drawn = new ImageData(16, 16);
  drawn.data.forEach((_, i) => (drawn.data[i] = i % 4 === 3 ? 255 : (i * 37) % 256));
  const context = new OffscreenCanvas(16, 16).getContext("2d", { willReadFrequently: true });
  if (context === null) return false;
  context.putImageData(drawn, 0, 0);
  return context.getImageData(0, 0, 16, 16).data.every((value, i) => value === drawn.data[i]);
}
