/** Client of the service's HTTP API. URLs are relative to this script, so that it works behind a path prefix. */

import { apiKey, askForKey } from "./access_key.js";
import { state, emit } from "./state.js";

const ROOT = new URL("..", import.meta.url); // of the service; the page's own URL may lack its last slash
const UNAUTHORISED = 401; // HTTP status of a request without a valid API key

/** An error response of the service, as RFC 9457 defines it. */
export class Problem extends Error {
  constructor(document, status) {
    super(document.detail ?? `The service answered with status ${status}.`);
    this.name = "Problem";
    this.status = status;
    this.kind = String(document.type ?? "").split(":").at(-1);
  }
}

/** Return the absolute URL of a route. Query parameters that are null or undefined are left out. */
export function address(route, query = {}) {
  const url = new URL(route, ROOT);
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined) url.searchParams.set(name, value);
  }
  return url;
}

/**
 * Send a request and return the response. Asks for an API key if the service wants one. Throws a `Problem` for an
 * error status; emits `lost` if there is no response.
 */
async function request(route, options) {
  let key = apiKey();
  let response = await attempt(route, options, key);
  while (response.status === UNAUTHORISED && await askForKey(key)) {
    key = apiKey();
    response = await attempt(route, options, key);
  }
  if (!response.ok) {
    const document = await response.json().catch(() => ({}));
    throw new Problem(document, response.status);
  }
  return response;
}

async function attempt(route, { query, body, signal, method }, key) {
  const isJson = body && !(body instanceof Blob);
  try {
    return await fetch(address(route, query), {
      method: method ?? (body ? "POST" : "GET"),
      body: isJson ? JSON.stringify(body) : body,
      headers: { ...(isJson && { "Content-Type": "application/json" }), ...(key && { "X-API-Key": key }) },
      signal,
    });
  } catch (error) {
    if (error.name !== "AbortError") reportLost();
    throw error;
  }
}

/** Get a JSON document. */
export const get = async (route, query, signal) => (await request(route, { query, signal })).json();

/** Add the chosen model to a query. A body with the pixels of a 28x28 needs no preparation. */
function imageQuery(query, body) {
  return { model: state.model, ...(body instanceof Blob ? {} : { preprocess: "none" }), ...query };
}

/** Send the current image, or `body`, and return the JSON response. */
export async function send(route, query = {}, signal = undefined, body = state.source.body) {
  return (await request(route, { query: imageQuery(query, body), body, signal })).json();
}

/** Send the current image, or `body`, and return the response's bytes. */
export async function sendForBytes(route, query, signal, body = state.source.body) {
  return (await request(route, { query: imageQuery(query, body), body, signal })).arrayBuffer();
}

/** Get a file and return its bytes. */
export const getBytes = async (route, query, signal) => (await request(route, { query, signal })).arrayBuffer();

let lost = false;

/** Emit `lost` once, then wait until the service is ready again. */
function reportLost() {
  if (lost) return;
  lost = true;
  emit("lost");
  waitUntilReady(500);
}

/** Poll `/readyz` until the service is ready, then emit `back`. Waits `delay` ms first, and longer each time. */
async function waitUntilReady(delay) {
  await new Promise((resolve) => { setTimeout(resolve, delay); });
  try {
    const response = await fetch(address("readyz"), { cache: "no-store" });
    if (!response.ok) throw new Error("not ready");
    lost = false;
    emit("back");
  } catch {
    waitUntilReady(Math.min(delay * 1.5, 4000));
  }
}

/** Return a curl command that sends the current 28x28 to a route. It names the API key, but does not hold it. */
export function curl(route, query = {}) {
  const url = address(route, { model: state.model, preprocess: "none", ...query });
  const image = state.prepared.image;
  const key = apiKey() ? ' -H "X-API-Key: $DIGITSCOPE_API_KEY"' : "";
  return `curl -X POST '${url}'${key} -H 'Content-Type: application/json' -d '{"image": "${image}"}'`;
}
