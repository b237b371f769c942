/** Rows of a frame as RGB, 8 bits, upright. In whole numbers, so that every language gives the same bytes. */

import type { Frame, PackedFrame, YuvFrame } from "./frame.ts";

/** A frame that is read row by row, as it is to be shown. */
export interface Upright {
  readonly width: number;
  readonly height: number;
  /** Write the columns from..to of the row y to `out` as R, G, B. */
  readRow(y: number, from: number, to: number, out: Uint8Array): void;
}

/** By EXIF orientation, how the stored x and y grow with the upright x and y: [x by x, x by y, y by x, y by y]. */
const directions: readonly (readonly [number, number, number, number])[] = [
  [1, 0, 0, 1],
  [-1, 0, 0, 1],
  [-1, 0, 0, -1],
  [1, 0, 0, -1],
  [0, 1, 1, 0],
  [0, 1, -1, 0],
  [0, -1, -1, 0],
  [0, -1, 1, 0],
];

/** A pixel that was stored at x, y, and the step to its right neighbour in the upright image. */
interface Walk {
  readonly x: number;
  readonly y: number;
  readonly dx: number;
  readonly dy: number;
}

/** Read a checked frame upright. */
export function upright(frame: Frame): Upright {
  const { width, height, orientation = 1 } = frame;
  const [xByX, xByY, yByX, yByY] = directions[orientation - 1];
  const startX = xByX + xByY < 0 ? width - 1 : 0;
  const startY = yByX + yByY < 0 ? height - 1 : 0;
  const read = frame.format === "yuv420" ? yuvReader(frame) : packedReader(frame);
  const turned = orientation >= 5;
  return {
    width: turned ? height : width,
    height: turned ? width : height,
    readRow(y, from, to, out) {
      const start = { x: startX + xByX * from + xByY * y, y: startY + yByX * from + yByY * y };
      read({ ...start, dx: xByX, dy: yByX }, to - from, out);
    },
  };
}

type Read = (walk: Walk, count: number, out: Uint8Array) => void;

function packedReader(frame: PackedFrame): Read {
  const { bytes, offset = 0, rowStride, pixelStride } = frame.planes[0];
  const place = (walk: Walk) => offset + walk.y * rowStride + walk.x * pixelStride;
  const stride = (walk: Walk) => walk.dy * rowStride + walk.dx * pixelStride;
  const swapped = frame.format === "bgr8" || frame.format === "bgra8";
  const [red, blue] = swapped ? [2, 0] : [0, 2];
  switch (frame.format) {
    case "grey8":
      return (walk, count, out) => {
        const step = stride(walk);
        for (let i = 0, at = place(walk); i < count; i++, at += step) out.fill(bytes[at], 3 * i, 3 * i + 3);
      };
    case "grey16":
      return (walk, count, out) => {
        const step = stride(walk);
        for (let i = 0, at = place(walk); i < count; i++, at += step) {
          const value = bytes[at] + 256 * bytes[at + 1];
          out.fill(((value + 128) / 257) | 0, 3 * i, 3 * i + 3);
        }
      };
    case "rgb8":
    case "bgr8":
      return (walk, count, out) => {
        const step = stride(walk);
        for (let i = 0, at = place(walk); i < 3 * count; i += 3, at += step) {
          out[i] = bytes[at + red];
          out[i + 1] = bytes[at + 1];
          out[i + 2] = bytes[at + blue];
        }
      };
    case "rgba8":
    case "bgra8":
      return (walk, count, out) => {
        const step = stride(walk);
        for (let i = 0, at = place(walk); i < 3 * count; i += 3, at += step) {
          const alpha = bytes[at + 3];
          out[i] = overWhite(bytes[at + red], alpha);
          out[i + 1] = overWhite(bytes[at + 1], alpha);
          out[i + 2] = overWhite(bytes[at + blue], alpha);
        }
      };
  }
}

/** Compose a channel with white, rounded as Pillow's alpha_composite does. */
function overWhite(channel: number, alpha: number): number {
  const part = alpha * 128;
  const sum = channel * part + 255 * (32640 - part) + (128 << 7);
  return (((sum >> 8) + sum) >> 8) >> 7;
}

/** In 1/65536: [Y, V in red, U in green, V in green, U in blue]. */
const coefficients = {
  bt601: { full: [65536, 91881, 22553, 46802, 116130], video: [76309, 104597, 25675, 53279, 132201] },
  bt709: { full: [65536, 103206, 12276, 30679, 121609], video: [76309, 117489, 13975, 34925, 138438] },
} as const;

function yuvReader(frame: YuvFrame): Read {
  const [luma, u, v] = frame.planes.map((plane) => ({ offset: 0, ...plane }));
  const [lumas, us, vs] = [luma.bytes, u.bytes, v.bytes];
  const [ky, rv, gu, gv, bu] = coefficients[frame.matrix][frame.range];
  const black = frame.range === "video" ? 16 : 0;
  return (walk, count, out) => {
    const { dx, dy } = walk;
    let { x, y } = walk;
    const step = dy * luma.rowStride + dx * luma.pixelStride;
    let at = luma.offset + y * luma.rowStride + x * luma.pixelStride;
    for (let i = 0; i < 3 * count; i += 3, at += step, x += dx, y += dy) {
      const column = x >> 1;
      const row = y >> 1;
      const blueness = us[u.offset + row * u.rowStride + column * u.pixelStride] - 128;
      const redness = vs[v.offset + row * v.rowStride + column * v.pixelStride] - 128;
      const light = (lumas[at] - black) * ky + 32768;
      out[i] = toByte((light + rv * redness) >> 16);
      out[i + 1] = toByte((light - gu * blueness - gv * redness) >> 16);
      out[i + 2] = toByte((light + bu * blueness) >> 16);
    }
  };
}

/** A number within 0..255. */
export function toByte(value: number): number {
  return value < 0 ? 0 : value > 255 ? 255 : value;
}
