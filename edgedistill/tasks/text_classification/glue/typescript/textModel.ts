/** A model that gives a text its label. */

import type { BundleReader } from "./bundle.ts";
import { facts } from "./generated.ts";
import { type CallOptions, type LoadOptions, type Opened, open } from "./model.ts";
import { Prediction, argmax } from "./prediction.ts";
import { ReadsTexts, type TextReader, type TextSelfTest, describeTexts, readerOf } from "./readsTexts.ts";
import { type Router, routerOf } from "./router.ts";
import { scoresOf } from "./scores.ts";

/** The result of a self-test of a model that gives texts their labels. */
export interface LabelSelfTest extends TextSelfTest {
  /** Golden samples whose most probable label is another one than when the bundle was made. */
  readonly decisionsChanged: number;
  /** Golden rows of the router's table that are decided in another way than where it was made. */
  readonly routesWrong: number;
}

/**
 * Classifies texts.
 *
 * @example
 * const model = await TextModel.load(urlBundle("/models/intents/"), { runtime });
 * const { label, probability } = await model.predict("What is the weather?");
 */
export class TextModel extends ReadsTexts {
  /** Says which answers the teacher has to give instead. */
  readonly router: Router;

  private constructor(opened: Opened, reader: TextReader, output: string) {
    super(opened, reader, output);
    this.router = routerOf(opened, [...reader.features([]).keys()]);
  }

  /** Load the model. The manifest, the chosen artifact and the tokenizer are read and checked. Throws ModelError. */
  static override async load(reader: BundleReader, options: LoadOptions): Promise<TextModel> {
    const opened = await open(reader, options);
    try {
      return new TextModel(opened, await readerOf(opened), scoresOf(opened, "text-classification"));
    } catch (error) {
      await opened.program.release();
      throw error;
    }
  }

  /** The probabilities of the labels of a text. A text that is longer than the model takes is cut. */
  async predict(text: string, options: CallOptions = {}): Promise<Prediction> {
    return new Prediction(facts.labels, await this.answer(text, options), this.features(text));
  }

  /** Run the golden samples and tokenize the golden texts of the bundle, and compare with the kit's results. */
  override async selfTest(options: CallOptions = {}): Promise<LabelSelfTest> {
    let decisionsChanged = 0;
    const test = await this.compareTexts(options, (found, expected) => {
      if (!(this.output in expected)) return;
      const [ours, theirs] = [found, expected].map((each) => argmax(each[this.output].data as Float32Array));
      if (ours !== theirs) decisionsChanged++;
    });
    const routesWrong = this.router.wrongRows();
    return { ...test, ok: test.ok && routesWrong === 0, decisionsChanged, routesWrong };
  }
}

/** A self-test as lines of text. */
export function describeLabels(test: LabelSelfTest): string {
  const decided = [`decisions changed: ${test.decisionsChanged}`, `wrong rows of the router: ${test.routesWrong}`];
  return [describeTexts(test), ...decided].join("\n");
}
