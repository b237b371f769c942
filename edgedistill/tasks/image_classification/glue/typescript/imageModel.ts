/** A model that tells what an image shows. */

import type { BundleReader } from "./bundle.ts";
import { featureNames, features } from "./features.ts";
import type { Frame } from "./frame.ts";
import { facts } from "./generated.ts";
import { type TestedFrame, compareFrames } from "./goldenFrames.ts";
import { type CallOptions, type LoadOptions, Model, type Opened, open } from "./model.ts";
import { type Features, Prediction, argmax } from "./prediction.ts";
import { type Preprocessing, preprocessingOf } from "./preprocessing.ts";
import { type Router, routerOf } from "./router.ts";
import { scoresOf } from "./scores.ts";
import { type SelfTest, compareOutputs, describe } from "./selfTest.ts";
import type { Tensors } from "./tensors.ts";

/** The result of a self-test of a model of images. */
export interface ImageSelfTest extends SelfTest {
  /** Frames of the bundle that were prepared here, each with the largest difference of a byte from the kit's result. */
  readonly frames: readonly TestedFrame[];
  /** Golden samples whose most probable label is another one than when the bundle was made. */
  readonly decisionsChanged: number;
  /** Golden rows of the router's table that are decided in another way than where it was made. */
  readonly routesWrong: number;
}

/**
 * Classifies images.
 *
 * @example
 * const model = await ImageModel.load(urlBundle("/models/digits/"), { runtime });
 * const { label, probability } = await model.predict(frame);
 */
export class ImageModel extends Model {
  /** Says which answers the teacher has to give instead. */
  readonly router: Router;
  readonly #preprocessing: Preprocessing;
  readonly #output: string;

  private constructor(opened: Opened, preprocessing: Preprocessing, output: string) {
    super(opened);
    this.#preprocessing = preprocessing;
    this.#output = output;
    this.router = routerOf(opened, featureNames);
  }

  /** Load the model. Only the manifest and the chosen artifact are read, and both are checked. Throws ModelError. */
  static override async load(reader: BundleReader, options: LoadOptions): Promise<ImageModel> {
    const opened = await open(reader, options);
    try {
      return new ImageModel(
        opened,
        preprocessingOf(opened.bundle.manifest.document, opened.artifact),
        scoresOf(opened, "image-classification"),
      );
    } catch (error) {
      await opened.program.release();
      throw error;
    }
  }

  /** What the image in `frame` shows. The frame is not changed, and must stay as it is until the promise is settled. */
  predict(frame: Frame, options: CallOptions = {}): Promise<Prediction> {
    return this.inTurn(async () => {
      const { name, tensor, pixels } = this.#preprocessing;
      let known: Features = new Map();
      const prepare = () => {
        const seen = pixels(frame);
        known = features(seen);
        return { [name]: tensor(seen) };
      };
      const outputs = await this.runNow(prepare, options.signal);
      return new Prediction(facts.labels, this.#scores(outputs), known);
    });
  }

  /** RGB bytes [height, width, 3] that the program sees of `frame`, for a look at them. */
  pixels(frame: Frame): Uint8Array {
    return this.#preprocessing.pixels(frame);
  }

  /** Run the golden samples and prepare the golden frames of the bundle, and compare with the kit's results. */
  override async selfTest(options: CallOptions = {}): Promise<ImageSelfTest> {
    let decisionsChanged = 0;
    const frames = await compareFrames(this.opened.bundle, (frame) => this.pixels(frame));
    const test = await compareOutputs(
      this.opened,
      (tensors) => this.run(tensors, options),
      (found, expected) => {
        if (!(this.#output in expected)) return;
        if (argmax(this.#scores(found)) !== argmax(this.#scores(expected))) decisionsChanged++;
      },
    );
    const routesWrong = this.router.wrongRows();
    const ok = test.ok && routesWrong === 0 && frames.every((frame) => frame.largestDifference === 0);
    return { ...test, ok, frames, decisionsChanged, routesWrong };
  }

  #scores(outputs: Tensors): ArrayLike<number> {
    return outputs[this.#output].data as Float32Array;
  }
}

/** A self-test as lines of text. */
export function describeImages(test: ImageSelfTest): string {
  const frames = test.frames.map(
    (frame) => `frame ${frame.index}: largest difference ${frame.largestDifference} of 255, allowed 0`,
  );
  const decided = [`decisions changed: ${test.decisionsChanged}`, `wrong rows of the router: ${test.routesWrong}`];
  return [describe(test), ...frames, ...decided].join("\n");
}
