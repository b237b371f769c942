/**
 * Resizes and crops as Pillow does with its filters BILINEAR and BICUBIC on 8 bits, rows first.
 * Weights are whole numbers of 1/4194304, and only what the crop keeps is computed.
 */

import { type Upright, toByte } from "./rgb.ts";

const bits = 22;
const half = 1 << (bits - 1);

/** The part of one side that is kept: places from..to of `input` places resized to `output`. */
export interface Side {
  readonly input: number;
  readonly output: number;
  readonly from: number;
  readonly to: number;
}

/** Named as in manifest.json: what Pillow calls bilinear and bicubic. */
export type Filter = "triangle" | "cubic";

/** For each kept place: its first input, how many it takes, and their weights, `longest` for each place. */
interface Taps {
  readonly first: Int32Array;
  readonly count: Int32Array;
  readonly weights: Int32Array;
  readonly longest: number;
}

/** The kept part of `image`, resized, as RGB bytes [height, width, 3]. */
export function resizeAndCrop(image: Upright, horizontal: Side, vertical: Side, filter: Filter): Uint8Array {
  const columns = tapsOf(horizontal, filter);
  const rows = tapsOf(vertical, filter);
  const [firstRow, lastRow] = reach(rows);
  const narrow = shrinkRows(image, columns, firstRow, lastRow);
  return shrinkColumns(narrow, rows, firstRow, 3 * columns.first.length);
}

/** Weights at a distance of 0 or more; the cubic is Keys' kernel with a = -0.5. */
const kernels: Record<Filter, { readonly reach: number; readonly at: (distance: number) => number }> = {
  triangle: { reach: 1, at: (x) => Math.max(0, 1 - x) },
  cubic: {
    reach: 2,
    at: (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0),
  },
};

function tapsOf(side: Side, filter: Filter): Taps {
  const { input, output, from, to } = side;
  const scale = input / output;
  const widened = Math.max(scale, 1);
  const kernel = kernels[filter];
  const support = kernel.reach * widened;
  const inverse = 1 / widened;
  const longest = input === output ? 1 : Math.ceil(support) * 2 + 1;
  const places = to - from;
  const taps: Taps = {
    first: new Int32Array(places),
    count: new Int32Array(places),
    weights: new Int32Array(places * longest),
    longest,
  };
  const exact = new Float64Array(longest);
  for (let i = 0; i < places; i++) {
    if (input === output) {
      // An unchanged side is not resampled: each place takes its own input.
      taps.first[i] = from + i;
      taps.count[i] = 1;
      taps.weights[i] = 1 << bits;
      continue;
    }
    const center = (from + i + 0.5) * scale;
    const low = Math.max(0, Math.trunc(center - support + 0.5));
    const count = Math.min(input, Math.trunc(center + support + 0.5)) - low;
    let sum = 0;
    for (let k = 0; k < count; k++) {
      exact[k] = kernel.at(Math.abs((k + low - center + 0.5) * inverse));
      sum += exact[k];
    }
    taps.first[i] = low;
    taps.count[i] = count;
    for (let k = 0; k < count; k++) {
      const whole = (exact[k] / sum) * (1 << bits);
      taps.weights[i * longest + k] = Math.trunc(whole < 0 ? whole - 0.5 : whole + 0.5);
    }
  }
  return taps;
}

/** The first input that is needed, and the one after the last. */
function reach(taps: Taps): [number, number] {
  const last = taps.first.length - 1;
  return [taps.first[0], taps.first[last] + taps.count[last]];
}

/** Resize the rows firstRow..lastRow along their length: bytes [rows, places, 3]. */
function shrinkRows(image: Upright, taps: Taps, firstRow: number, lastRow: number): Uint8Array {
  const { first, count, weights, longest } = taps;
  const [start, end] = reach(taps);
  const row = new Uint8Array(3 * (end - start));
  const out = new Uint8Array((lastRow - firstRow) * first.length * 3);
  let at = 0;
  for (let y = firstRow; y < lastRow; y++) {
    image.readRow(y, start, end, row);
    for (let i = 0; i < first.length; i++, at += 3) {
      let red = half;
      let green = half;
      let blue = half;
      let from = 3 * (first[i] - start);
      const stop = i * longest + count[i];
      for (let k = i * longest; k < stop; k++, from += 3) {
        const weight = weights[k];
        red += weight * row[from];
        green += weight * row[from + 1];
        blue += weight * row[from + 2];
      }
      out[at] = toByte(red >> bits);
      out[at + 1] = toByte(green >> bits);
      out[at + 2] = toByte(blue >> bits);
    }
  }
  return out;
}

/** Resize along columns. rows: bytes [rows from firstRow on, width]. */
function shrinkColumns(rows: Uint8Array, taps: Taps, firstRow: number, width: number): Uint8Array {
  const { first, count, weights, longest } = taps;
  const out = new Uint8Array(first.length * width);
  const sums = new Int32Array(width);
  for (let i = 0; i < first.length; i++) {
    sums.fill(half);
    for (let k = 0; k < count[i]; k++) {
      const weight = weights[i * longest + k];
      const from = (first[i] + k - firstRow) * width;
      for (let x = 0; x < width; x++) sums[x] += weight * rows[from + x];
    }
    for (let x = 0; x < width; x++) out[i * width + x] = toByte(sums[x] >> bits);
  }
  return out;
}
