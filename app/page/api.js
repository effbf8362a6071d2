/** Client of the service's HTTP API. URLs are relative to the page, so that it works behind a path prefix. */

import { state, emit } from "./state.js";

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
  const url = new URL(route, document.baseURI);
  url.hash = "";
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined) url.searchParams.set(name, value);
  }
  return url;
}

/** Send a request and return the response. Throws a `Problem` for an error status; emits `lost` if there is no response. */
async function request(route, { query, body, signal, method }) {
  const isJson = body && !(body instanceof Blob);
  let response;
  try {
    response = await fetch(address(route, query), {
      method: method ?? (body ? "POST" : "GET"),
      body: isJson ? JSON.stringify(body) : body,
      headers: isJson ? { "Content-Type": "application/json" } : {},
      signal,
    });
  } catch (error) {
    if (error.name !== "AbortError") reportLost();
    throw error;
  }
  if (!response.ok) {
    const document = await response.json().catch(() => ({}));
    throw new Problem(document, response.status);
  }
  return response;
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

/** Return a curl command that sends the current 28x28 to a route. */
export function curl(route, query = {}) {
  const url = address(route, { model: state.model, preprocess: "none", ...query });
  const image = state.prepared.image;
  return `curl -X POST '${url}' -H 'Content-Type: application/json' -d '{"image": "${image}"}'`;
}
