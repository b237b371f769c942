/** A bundle in a folder, for Node. A file of its own, so that web pages need no file system. */

import { lstat, readFile } from "node:fs/promises";
import { join } from "node:path";

import type { BundleReader } from "./bundle.ts";
import { ModelError } from "./errors.ts";

/** The bundle in a folder. A link in place of one of its files or folders is an error of the kind path. */
export function folderBundle(folder: string): BundleReader {
  return {
    async read(path) {
      let place = folder;
      for (const name of path.split("/")) {
        place = join(place, name);
        if ((await lstat(place)).isSymbolicLink()) {
          throw new ModelError(
            "path",
            `${place} is a link, expected a file of the bundle itself: copy the bundle again`,
          );
        }
      }
      return readFile(place);
    },
  };
}
