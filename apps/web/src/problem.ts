/** Says what went wrong, and what to do. */

import { type ErrorKind, ModelError } from "model";
import { textOf } from "model/errors.js";

/** An error that is told to the user as it is. */
export class Problem extends Error {
  readonly title: string;

  constructor(title: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.title = title;
  }
}

/** The glue code's message says the rest. */
const titles: Partial<Record<ErrorKind, string>> = {
  manifest: "The bundle is missing or damaged",
  "missing-file": "A file of the bundle is missing",
  hash: "The bundle was changed",
  path: "The bundle is not safe",
  schema: "The bundle is of another version",
  "no-artifact": "Nothing of the bundle runs here",
  "old-runtime": "The runtime is too old",
  runtime: "The runtime failed",
  input: "This image cannot be used",
  platform: "This browser or address does not do",
};

/** Anything that was thrown, as a title and a text. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof ModelError) return new Problem(titles[error.kind] ?? "The model failed", error.message, error);
  return new Problem("Something failed", textOf(error), error);
}
