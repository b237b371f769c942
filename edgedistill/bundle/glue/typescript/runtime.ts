/** What this package asks of a runtime, and the check of its version. */

import { ModelError } from "./errors.ts";
import type { Artifact } from "./manifest.ts";
import type { Tensors } from "./tensors.ts";

/** Runs programs of some formats. */
export interface Runtime {
  /** Its name for people. */
  readonly name: string;
  readonly version: string;
  /** Names that a manifest may have for it in `minimum_runtime`. */
  readonly packages: readonly string[];
  /** Formats of the manifest that it runs. */
  readonly formats: readonly string[];
  /** Open a program. threads: how many compute. delegate: what computes; undefined for the CPU. */
  open(program: Uint8Array, threads: number, delegate: string | undefined): Promise<Program>;
}

/** A program that was opened. */
export interface Program {
  /** What really computes. */
  readonly delegate: Delegate;
  /** How many threads really compute. */
  readonly threads: number;
  /** Run it: inputs and outputs by name. */
  run(inputs: Tensors, outputs: readonly string[]): Promise<Tensors>;
  /** Give its memory back. */
  release(): Promise<void>;
}

/** What computes: a name, or "unknown" with the reason why the runtime does not tell. */
export interface Delegate {
  readonly name: string;
  readonly reason: string | null;
}

/** Throws ModelError of the kind old-runtime where `artifact` needs a newer version of `runtime`. */
export function checkVersion(runtime: Runtime, artifact: Artifact): void {
  for (const name of runtime.packages) {
    const minimum = artifact.minimumRuntime.get(name);
    if (minimum !== undefined && isOlder(runtime.version, minimum)) {
      const found = `found ${runtime.name} ${runtime.version}, ${artifact.name} needs ${name} ${minimum} or newer`;
      throw new ModelError("old-runtime", `${found}: update the package in the app`);
    }
  }
}

/** Whether version `a` is older than `b`: numbers between dots; what follows a "-" or "+" does not count. */
export function isOlder(a: string, b: string): boolean {
  const [left, right] = [a, b].map((text) => text.split(/[-+]/)[0].split(".").map(Number));
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
