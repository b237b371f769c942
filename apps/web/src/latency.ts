/** Latencies of the last predictions. */

/** How long the parts of a prediction took, in milliseconds. */
export interface Times {
  /** From the decoded image to the program's input: reading the pixels, resizing; and softmax at the end. */
  readonly preparation: number;
  /** The program itself. */
  readonly run: number;
  readonly total: number;
}

export const parts = ["preparation", "run", "total"] as const satisfies readonly (keyof Times)[];

const kept = 100;
const fewestForP95 = 20;

/** The last 100 predictions of one kind of source. */
export class Latencies {
  #times: Times[] = [];

  get count(): number {
    return this.#times.length;
  }

  add(times: Times): void {
    this.#times.push(times);
    if (this.#times.length > kept) this.#times.shift();
  }

  clear(): void {
    this.#times = [];
  }

  /** In milliseconds; null before the first prediction. */
  median(part: keyof Times): number | null {
    return this.#quantile(part, 0.5);
  }

  /** In milliseconds; null before the 20th prediction, since fewer do not tell it. */
  p95(part: keyof Times): number | null {
    return this.count < fewestForP95 ? null : this.#quantile(part, 0.95);
  }

  /** Between the two nearest values, as numpy.quantile computes it. */
  #quantile(part: keyof Times, share: number): number | null {
    const sorted = this.#times.map((times) => times[part]).sort((a, b) => a - b);
    const place = share * (sorted.length - 1);
    const [below, above] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
    if (below === undefined || above === undefined) return null;
    return below + (above - below) * (place % 1);
  }
}

/** The smallest step of this browser's clock, in milliseconds: some browsers round it, up to 1 ms and more. */
export function clockStep(): number {
  let smallest = Infinity;
  const end = performance.now() + 20;
  for (let before = performance.now(), now = before; now < end; before = now) {
    while (now === before) now = performance.now();
    smallest = Math.min(smallest, now - before);
  }
  return smallest;
}
