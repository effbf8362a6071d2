/** The service's HTTP API, and whether it can be reached. Addresses are relative to the page. */

import { state, emit } from "./state.js";

/** What the service answered instead of what was asked for (RFC 9457). */
export class Problem extends Error {
  constructor(document, status) {
    super(document.detail ?? `The service answered with ${status}.`);
    this.name = "Problem";
    this.status = status;
    this.kind = String(document.type ?? "").split(":").at(-1);
  }
}

/** The address of a route with its query, absolute. */
export function address(route, query = {}) {
  const url = new URL(route, document.baseURI);
  url.hash = "";
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined) url.searchParams.set(name, value);
  }
  return url;
}

/** Ask a route and return the response; a failure becomes a `Problem`, a lost server is told. */
async function request(route, { query, body, signal, method }) {
  const plain = body && !(body instanceof Blob);
  let response;
  try {
    response = await fetch(address(route, query), {
      method: method ?? (body ? "POST" : "GET"),
      body: plain ? JSON.stringify(body) : body,
      headers: plain ? { "Content-Type": "application/json" } : {},
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

/** Get a document. */
export const get = async (route, query, signal) => (await request(route, { query, signal })).json();

/** The parameters of the present model; pixels that are a 28x28 already are not prepared again. */
function imageQuery(query, body) {
  return { model: state.model, ...(body instanceof Blob ? {} : { preprocess: "none" }), ...query };
}

/** Send the present image, or `body`, and get a document. */
export async function send(route, query = {}, signal = undefined, body = state.source.body) {
  return (await request(route, { query: imageQuery(query, body), body, signal })).json();
}

/** Send the present image and get a file's bytes. */
export async function sendForBytes(route, query, signal, body = state.source.body) {
  return (await request(route, { query: imageQuery(query, body), body, signal })).arrayBuffer();
}

/** Get a file's bytes. */
export const getBytes = async (route, query, signal) => (await request(route, { query, signal })).arrayBuffer();

let lost = false;
function reportLost() {
  if (lost) return;
  lost = true;
  emit("lost");
  waitUntilReady(500);
}

async function waitUntilReady(wait) {
  await new Promise((resolve) => { setTimeout(resolve, wait); });
  try {
    const answer = await fetch(address("readyz"), { cache: "no-store" });
    if (!answer.ok) throw new Error("not ready");
    lost = false;
    emit("back");
  } catch {
    waitUntilReady(Math.min(wait * 1.5, 4000));
  }
}

/** A command that asks the same of the service from a terminal; holds the 28x28 itself. */
export function curl(route, query = {}) {
  const url = address(route, { model: state.model, preprocess: "none", ...query });
  const image = state.prepared.image;
  return `curl -X POST '${url}' -H 'Content-Type: application/json' -d '{"image": "${image}"}'`;
}
