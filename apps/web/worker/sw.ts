/**
 * Keeps all files of one build, so that the page opens without a network, and always with files of the same build.
 * `build` is written before this code; a new build makes a new service worker.
 */

declare const build: {
  readonly version: string;
  /** SHA-256 by path from the folder of this file. */
  readonly files: Readonly<Record<string, string>>;
  /** Files that are kept when the page asks for them. */
  readonly later: readonly string[];
};

const worker = self as unknown as ServiceWorkerGlobalScope;
const scope = new URL("./", worker.location.href);
// Other pages of this origin may have caches too.
const prefix = `edgedistill ${scope.pathname} `;
const cacheName = prefix + build.version;

worker.addEventListener("install", (event) => event.waitUntil(keepAll()));
worker.addEventListener("activate", (event) => event.waitUntil(begin()));
worker.addEventListener("fetch", (event) => {
  const name = nameOf(event.request);
  if (name !== undefined) event.respondWith(answer(name, event.request));
});
worker.addEventListener("message", (event) => {
  // The page asks for this when its user wants the new build; else the old one stays until all its pages are closed.
  if (event.data === "begin") void worker.skipWaiting();
});

async function keepAll(): Promise<void> {
  const cache = await caches.open(cacheName);
  const names = Object.keys(build.files).filter((name) => !build.later.includes(name));
  try {
    await Promise.all(names.map(async (name) => cache.put(urlOf(name), await fetched(name))));
  } catch (error) {
    await caches.delete(cacheName);
    throw error;
  }
}

async function begin(): Promise<void> {
  const old = (await caches.keys()).filter((name) => name.startsWith(prefix) && name !== cacheName);
  await Promise.all(old.map((name) => caches.delete(name)));
  await worker.clients.claim();
}

/** The path in the build that a request asks for; undefined where it asks for something else. */
function nameOf(request: Request): string | undefined {
  const url = new URL(request.url);
  if (request.method !== "GET" || !url.href.startsWith(scope.href)) return undefined;
  const name = decodeURIComponent(url.pathname.slice(scope.pathname.length)) || "index.html";
  return name in build.files ? name : undefined;
}

async function answer(name: string, request: Request): Promise<Response> {
  const cache = await caches.open(cacheName);
  const kept = await cache.match(urlOf(name));
  if (kept !== undefined) return isolated(kept);
  if (!build.later.includes(name)) return fetch(request);
  const response = await fetched(name).catch(() => undefined);
  // Changed files go to the page as they are: its glue code says what is wrong with them.
  if (response === undefined) return fetch(request);
  await cache.put(urlOf(name), response.clone());
  return isolated(response);
}

/** The file from the server, with the hash of this build. */
async function fetched(name: string): Promise<Response> {
  const response = await fetch(urlOf(name), { cache: "no-cache" });
  if (!response.ok) throw new Error(`${name}: the server answers ${response.status}`);
  const bytes = await response.arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== build.files[name]) throw new Error(`${name}: not the file of build ${build.version}`);
  const type = response.headers.get("Content-Type");
  return new Response(bytes, { headers: type === null ? {} : { "Content-Type": type } });
}

/** A response that isolates the page from other origins, because only then a browser gives it threads. */
function isolated(response: Response): Response {
  const headers = new Headers(response.headers);
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  return new Response(response.body, { headers });
}

function urlOf(name: string): string {
  return new URL(name.split("/").map(encodeURIComponent).join("/"), scope).href;
}
