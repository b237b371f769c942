/** From a frame to what the program takes, exactly as in training. */

import { ModelError } from "./errors.ts";
import { type Frame, checkFrame } from "./frame.ts";
import { type Artifact, type Json, type TensorSpec, number, object, wrong } from "./manifest.ts";
import { type Filter, type Side, resizeAndCrop } from "./resize.ts";
import { upright } from "./rgb.ts";
import type { Tensor } from "./tensors.ts";

/** Prepares frames for one artifact. */
export interface Preprocessing {
  /** The input that it makes. */
  readonly name: string;
  /** Convert to RGB, turn upright, resize and crop: bytes [height, width, 3]. Throws ModelError of the kind input. */
  pixels(frame: Frame): Uint8Array;
  /** These as the program takes them: uint8 [1, height, width, 3], or float32 [1, 3, height, width] in 0..1. */
  tensor(pixels: Uint8Array): Tensor;
}

/** What the images are resized and cropped to, in pixels. */
export interface Sizes {
  /** Of the resized image: the shorter side, or both sides where it is stretched. */
  readonly side: number;
  readonly stretch: boolean;
  readonly filter: Filter;
  /** Whether half of an odd margin is rounded down, and not to the even number. */
  readonly down: boolean;
  readonly width: number;
  readonly height: number;
}

/** Read how `artifact` takes images. Throws ModelError of the kind manifest where this code does not know the way. */
export function preprocessingOf(document: Json, artifact: Artifact): Preprocessing {
  const spec = artifact.inputs.find((input) => input.meaning === "image");
  if (spec === undefined || artifact.inputs.length !== 1) {
    throw wrong(
      artifact.inputs.map((input) => input.meaning),
      `inputs of ${artifact.name}`,
      "one image",
    );
  }
  const sizes = sizesOf(document, spec.name);
  const toTensor = conversion(artifact, spec, sizes);
  const pixels = (frame: Frame) => prepare(frame, sizes);
  return { name: spec.name, pixels, tensor: toTensor };
}

function sizesOf(document: Json, name: string): Sizes {
  const where = `preprocessing.inputs.${name}`;
  const inputs = object(object(document["preprocessing"], "preprocessing")["inputs"], "preprocessing.inputs");
  const facts = object(inputs[name], where);
  const resize = object(facts["resize"], `${where}.resize`);
  const crop = object(facts["crop"], `${where}.crop`);
  const normalization = object(facts["normalization"], `${where}.normalization`);
  const stretch = resize["width"] !== undefined;
  const filter = resize["filter"];
  if (filter !== "triangle" && filter !== "cubic") {
    throw wrong(filter, `${where}.resize.filter`, '"triangle" or "cubic"');
  }
  const place = crop["place"];
  if (place !== "center" && place !== "center, rounded down") {
    throw wrong(place, `${where}.crop.place`, '"center" or "center, rounded down"');
  }
  const known: [unknown, unknown, string][] = [
    [facts["color"], "RGB", "color"],
    [resize["antialias"], true, "resize.antialias"],
    [resize["height"], resize["width"], "resize.height"],
    [facts["padding"] ?? null, null, "padding"],
    [normalization["where"], "inside the program", "normalization.where"],
  ];
  for (const [found, expected, field] of known) {
    if (found !== expected) throw wrong(found, `${where}.${field}`, JSON.stringify(expected));
  }
  const sizes: Sizes = {
    side: stretch
      ? number(resize["width"], `${where}.resize.width`)
      : number(resize["shorter_side"], `${where}.resize.shorter_side`),
    stretch,
    filter,
    down: place !== "center",
    width: number(crop["width"], `${where}.crop.width`),
    height: number(crop["height"], `${where}.crop.height`),
  };
  if (Math.max(sizes.width, sizes.height) > sizes.side) {
    throw wrong(crop, `${where}.crop`, `at most the resized side, ${sizes.side}`);
  }
  return sizes;
}

/** RGB bytes [height, width, 3] of the middle of a frame. */
export function prepare(frame: Frame, sizes: Sizes): Uint8Array {
  checkFrame(frame);
  const image = upright(frame);
  const short = sizes.stretch ? 0 : Math.min(image.width, image.height);
  const side = (input: number, kept: number): Side => {
    const output = short === 0 ? sizes.side : Math.floor((sizes.side * input) / short);
    return middle(input, output, kept, sizes.down);
  };
  return resizeAndCrop(image, side(image.width, sizes.width), side(image.height, sizes.height), sizes.filter);
}

/** The `kept` places in the middle of a side; a half is rounded down, or to an even number. */
function middle(input: number, output: number, kept: number, down: boolean): Side {
  const rest = output - kept;
  const lower = Math.floor(rest / 2);
  const from = down ? lower : lower + (rest % 2) * (lower % 2);
  return { input, output, from, to: from + kept };
}

function conversion(artifact: Artifact, spec: TensorSpec, sizes: Sizes): (pixels: Uint8Array) => Tensor {
  const { width, height } = sizes;
  const shapes: Record<string, [string, number[], (pixels: Uint8Array) => Tensor]> = {
    "uint8-nhwc": [
      "uint8",
      [1, height, width, 3],
      (pixels) => ({ dtype: "uint8", shape: [1, height, width, 3], data: pixels }),
    ],
    "float32-nchw": ["float32", [1, 3, height, width], (pixels) => planar(pixels, width, height)],
  };
  const expected = shapes[artifact.input];
  if (expected === undefined) {
    const known = Object.keys(shapes).join(" or ");
    throw new ModelError(
      "no-artifact",
      `${artifact.name} takes ${artifact.input}, expected ${known}: take another artifact`,
    );
  }
  const [dtype, shape, convert] = expected;
  if (spec.dtype !== dtype || String(spec.shape) !== String(shape)) {
    throw wrong(spec, `input of ${artifact.name}`, `${dtype}[${shape}]`);
  }
  return convert;
}

/** v / 255 in float32, for each byte. */
const unit = Float32Array.from({ length: 256 }, (_, value) => value / 255);

function planar(pixels: Uint8Array, width: number, height: number): Tensor {
  const area = width * height;
  const data = new Float32Array(3 * area);
  for (let i = 0, from = 0; i < area; i++, from += 3) {
    data[i] = unit[pixels[from]];
    data[area + i] = unit[pixels[from + 1]];
    data[2 * area + i] = unit[pixels[from + 2]];
  }
  return { dtype: "float32", shape: [1, 3, height, width], data };
}
