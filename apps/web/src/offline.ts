/** Keeps the page for later without a network, by a service worker. The page works without one too. */

import { textOf } from "model/errors.js";

import { Problem } from "./problem.ts";

const address = new URL("../sw.js", import.meta.url);

/**
 * Register the service worker. state: is told whether the page opens offline. kept: is called when it does.
 * renew: is given what loads a new build, when one waits.
 */
export async function keepOffline(
  state: (text: string) => void,
  kept: () => void,
  renew: (begin: () => void) => void,
): Promise<void> {
  // Without HTTPS or localhost, and in some private windows, there is none.
  const container: ServiceWorkerContainer | undefined = navigator.serviceWorker;
  if (container === undefined) return state("Not available: this browser or address has no service workers.");
  const told = () => {
    state("The page opens without a network.");
    kept();
  };
  if (container.controller !== null) told();
  try {
    const registration = await container.register(address);
    const offer = (waiting: ServiceWorker) =>
      renew(() => {
        container.addEventListener("controllerchange", () => location.reload(), { once: true });
        waiting.postMessage("begin");
      });
    const watch = (installing: ServiceWorker | null) =>
      installing?.addEventListener("statechange", () => {
        if (installing.state === "installed" && registration.active !== null) offer(installing);
        if (installing.state === "redundant" && registration.active === null) state(notKept);
      });
    if (registration.waiting !== null && registration.active !== null) offer(registration.waiting);
    watch(registration.installing);
    registration.addEventListener("updatefound", () => watch(registration.installing));
    if (registration.active === null) state("The page is being kept for later.");
    await container.ready;
    told();
  } catch (error) {
    if (container.controller === null) state(`Not available: ${textOf(error)}`);
  }
}

const notKept = "Not available: the server gave a file that is missing or not of this build. Build the page again.";

/** Delete what is kept, and load the page from the server. Throws Problem where the server does not answer. */
export async function forget(): Promise<void> {
  await fetch(address, { cache: "no-store" }).catch((error: unknown) => {
    const found = `${location.host} does not answer (${textOf(error)})`;
    throw new Problem("There is no network", `${found}, so the page stays as it is.`, error);
  });
  const registrations = (await navigator.serviceWorker?.getRegistrations()) ?? [];
  const own = registrations.filter((each) => each.scope === new URL("./", address).href);
  const { pathname } = new URL("./", address);
  const names = (await globalThis.caches?.keys()) ?? [];
  await Promise.all(own.map((each) => each.unregister()));
  const kept = names.filter((name) => name.startsWith(`edgedistill ${pathname} `));
  await Promise.all(kept.map((name) => caches.delete(name)));
  location.reload();
}
