/** What is known of an image without a model. */

const channels = ["red", "green", "blue"] as const;
const largest = 255;

/** Mean and standard deviation of each channel, from 0 to 1. */
export const featureNames: readonly string[] = channels.flatMap((name) => [`${name}_mean`, `${name}_deviation`]);

/** The features of RGB bytes. Sums are those of whole numbers, so that every language gives the same. */
export function features(pixels: Uint8Array): Map<string, number> {
  const found = new Map<string, number>();
  const count = pixels.length / channels.length;
  channels.forEach((name, channel) => {
    let [sum, squares] = [0, 0];
    for (let i = channel; i < pixels.length; i += channels.length) {
      sum += pixels[i];
      squares += pixels[i] * pixels[i];
    }
    found.set(`${name}_mean`, sum / (count * largest));
    found.set(`${name}_deviation`, Math.sqrt(count * squares - sum * sum) / (count * largest));
  });
  return found;
}
