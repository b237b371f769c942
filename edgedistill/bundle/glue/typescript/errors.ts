/** What can go wrong with a bundle, by kind, so that an app can tell the cases apart. */
export type ErrorKind =
  /** manifest.json is missing, damaged, or of another model than this package. */
  | "manifest"
  /** manifest.json has a newer schema than this code, or is no manifest of edgedistill. */
  | "schema"
  /** The manifest is not signed, or not by the given key. */
  | "signature"
  /** A path in the manifest leads out of the bundle. */
  | "path"
  /** A file of the bundle cannot be read. */
  | "missing-file"
  /** A file of the bundle has another SHA-256 than the manifest says. */
  | "hash"
  /** The runtime of this app runs none of the artifacts. */
  | "no-artifact"
  /** The runtime is older than the artifact needs. */
  | "old-runtime"
  /** An input has the wrong type, shape or size. */
  | "input"
  /** The runtime failed; `cause` is its error. */
  | "runtime"
  /** The caller's AbortSignal was aborted; `cause` is its reason. */
  | "cancelled"
  /** The model was used after `close()`. */
  | "closed"
  /** The platform lacks something, such as WebCrypto. */
  | "platform";

/** The one error of this package. Its message says what was found, what was expected and what to do. */
export class ModelError extends Error {
  override readonly name = "ModelError";
  /** What went wrong. */
  readonly kind: ErrorKind;

  constructor(kind: ErrorKind, message: string, cause?: unknown) {
    super(message, { cause });
    this.kind = kind;
  }
}

/** The text of anything that was thrown. */
export function textOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
