/** Reads files of a bundle and checks each against the manifest. */

import { ModelError, textOf } from "./errors.ts";
import { type Manifest, checkPath, parseManifest } from "./manifest.ts";

/** Where the files of a bundle are: `urlBundle` and `folderBundle` make one; an app may have its own. */
export interface BundleReader {
  /** All bytes of the file at `path` in the bundle, with `/` between names. Rejects where there is none. */
  read(path: string): Promise<Uint8Array>;
}

/** The bundle under a URL, read by `fetch`. base: the folder of the bundle, such as "/models/digits/". */
export function urlBundle(base: string | URL): BundleReader {
  return {
    async read(path) {
      const root = new URL(base, globalThis.location?.href);
      if (!root.pathname.endsWith("/")) root.pathname += "/";
      const url = new URL(path.split("/").map(encodeURIComponent).join("/"), root);
      const response = await fetch(url);
      if (!response.ok) throw new Error(`${url} answers ${response.status} ${response.statusText}`.trim());
      return new Uint8Array(await response.arrayBuffer());
    },
  };
}

/** A bundle whose manifest was read and checked. */
export class Bundle {
  /** What the bundle holds. */
  readonly manifest: Manifest;
  readonly #reader: BundleReader;

  private constructor(reader: BundleReader, manifest: Manifest) {
    this.#reader = reader;
    this.manifest = manifest;
  }

  /**
   * Read manifest.json. publicKey: the 32 bytes of an Ed25519 key, whose signature of it manifest.sig must hold.
   * Throws ModelError of the kinds manifest, schema, signature and path.
   */
  static async open(reader: BundleReader, publicKey?: Uint8Array): Promise<Bundle> {
    const bytes = await reader.read("manifest.json").catch((error: unknown) => {
      const advice = "expected the manifest of a bundle: check the folder or URL";
      throw new ModelError("manifest", `manifest.json cannot be read (${textOf(error)}), ${advice}`, error);
    });
    if (publicKey !== undefined) await checkSignature(reader, bytes, publicKey);
    return new Bundle(reader, parseManifest(bytes));
  }

  /**
   * The bytes of the file at `path`, whose SHA-256 is what the manifest says.
   * Throws ModelError of the kinds path, missing-file and hash.
   */
  async read(path: string): Promise<Uint8Array> {
    checkPath(path);
    const expected = this.manifest.files.get(path);
    if (expected === undefined) {
      throw new ModelError(
        "manifest",
        `manifest.json: files: found no '${path}', expected its SHA-256: copy the bundle again`,
      );
    }
    const bytes = await this.#reader.read(path).catch((error: unknown) => {
      if (error instanceof ModelError) throw error;
      const advice = "expected a file of the bundle: copy the whole bundle";
      throw new ModelError("missing-file", `${path} cannot be read (${textOf(error)}), ${advice}`, error);
    });
    await checkHash(path, bytes, expected);
    return bytes;
  }
}

/** The SHA-256 of `bytes` in hexadecimal. */
export async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await subtle().digest("SHA-256", bytes as BufferSource);
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function checkHash(path: string, bytes: Uint8Array, expected: string): Promise<void> {
  const found = await sha256(bytes);
  if (found === expected) return;
  const both = `found ${found.slice(0, 12)}, expected ${expected.slice(0, 12)}`;
  throw new ModelError("hash", `${path} has another SHA-256: ${both}: copy the bundle again`);
}

async function checkSignature(reader: BundleReader, manifest: Uint8Array, publicKey: Uint8Array): Promise<void> {
  const signature = await reader.read("manifest.sig").catch((error: unknown) => {
    const advice = "expected the signature of manifest.json, because a public key was given: sign the bundle";
    throw new ModelError("signature", `manifest.sig cannot be read (${textOf(error)}), ${advice}`, error);
  });
  const [found, given] = [signature.length, publicKey.length];
  const sizes = `found ${found} bytes of manifest.sig and ${given} of the key, expected 64 and 32`;
  if (signature.length !== 64 || publicKey.length !== 32)
    throw new ModelError("signature", `${sizes}: sign the bundle again`);
  const key = await subtle()
    .importKey("raw", publicKey as BufferSource, { name: "Ed25519" }, false, ["verify"])
    .catch((error: unknown) => {
      const found = `this platform cannot use the Ed25519 key (${textOf(error)})`;
      throw new ModelError(
        "signature",
        `${found}, expected Node 20, Chrome 137, Safari 17 or Firefox 129, or newer`,
        error,
      );
    });
  if (!(await subtle().verify("Ed25519", key, signature as BufferSource, manifest as BufferSource))) {
    const found = "manifest.sig is not the signature of this manifest.json by the given key";
    throw new ModelError("signature", `${found}: do not use this bundle, or give the key that signed it`);
  }
}

function subtle(): SubtleCrypto {
  const found: SubtleCrypto | undefined = globalThis.crypto?.subtle;
  if (found !== undefined) return found;
  const advice = "serve the page by https or from localhost; in React Native install a polyfill of WebCrypto";
  throw new ModelError("platform", `found no crypto.subtle, expected WebCrypto to check the files: ${advice}`);
}
