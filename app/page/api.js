/** Client of the service's HTTP API. URLs are relative to this script, so that it works behind a path prefix. */

import { state, emit } from "./state.js";

const ROOT = new URL("..", import.meta.url); // of the service; the page's own URL may lack its last slash
const UNAUTHORISED = 401; // HTTP status of a request without a valid API key
export const MAX_SILENCE_MS = 20000; // without a byte in either direction; the service answers within half of it
const FIRST_POLL_MS = 500;
const MAX_POLL_MS = 4000;

const KEY_NAME = "digitscope-api-key"; // in the tab's session storage
let key = readKey();

function readKey() {
  try {
    return sessionStorage.getItem(KEY_NAME);
  } catch {
    return null; // the browser allows no storage: the key lasts until the page is left
  }
}

/** Return the API key that requests carry, or null. */
export const apiKey = () => key;

/** Keep an API key for this tab. */
export function keepKey(value) {
  key = value;
  try {
    sessionStorage.setItem(KEY_NAME, value);
  } catch {
    // as in `readKey`
  }
}

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

/** The `X-Request-ID` of the last response of each route. */
export const answerIds = {};

/**
 * Send a request and return the response's bytes. Asks for an API key if the service wants one. Throws a `Problem` for
 * an error status; emits `lost` if no whole response comes.
 */
export async function request(route, options) {
  let sent = key;
  let answer = await attempt(route, options, sent);
  while (answer.status === UNAUTHORISED && await (await import("./access_key.js")).askForKey(sent)) {
    sent = key;
    answer = await attempt(route, options, sent);
  }
  if (answer.status < 200 || answer.status > 299) throw new Problem(parse(answer.content, {}), answer.status);
  answerIds[route] = answer.id;
  return answer.content;
}

/** Parse JSON from bytes; return `fallback`, if there is one, for bytes that are none. */
export function parse(content, fallback) {
  try {
    return JSON.parse(new TextDecoder().decode(content));
  } catch (error) {
    if (fallback === undefined) throw error;
    return fallback;
  }
}

async function attempt(route, { query, body, signal, method, transfer = exchange }, sent) {
  const isJson = body && !(body instanceof Blob);
  const message = {
    url: address(route, query),
    method: method ?? (body ? "POST" : "GET"),
    body: isJson ? JSON.stringify(body) : body,
    headers: { ...(isJson && { "Content-Type": "application/json" }), ...(sent && { "X-API-Key": sent }) },
    signal,
  };
  try {
    return await transfer(message);
  } catch (error) {
    if (!signal?.aborted) reportLost();
    throw signal?.aborted ? new DOMException("The request is no longer needed.", "AbortError") : error;
  }
}

async function exchange({ url, signal, ...options }) {
  const silence = AbortSignal.timeout(MAX_SILENCE_MS);
  const response = await fetch(url, { ...options, signal: signal ? AbortSignal.any([signal, silence]) : silence });
  return { status: response.status, id: response.headers.get("X-Request-ID"), content: await response.arrayBuffer() };
}

/** Get a JSON document. */
export const get = async (route, query, signal) => parse(await request(route, { query, signal }));

/** Send a request about the chosen model itself, without an image, and return the JSON response. */
export const ask = async (route, query, signal) => parse(await request(route, { query: { model: state.model, ...query }, method: "POST", signal }));

/** Get a file and return its bytes. */
export const getBytes = (route, query, signal) => request(route, { query, signal });

/** Add the chosen model to a query. A 28x28 needs no preparation. */
function imageQuery(query, body) {
  return { model: state.model, ...(body instanceof Blob ? {} : { preprocess: "none" }), ...query };
}

/** Send the current image, or `body`, and return the response's bytes. `transfer` sends it in another way. */
export function sendForBytes(route, query, signal, body = state.source.body, transfer = undefined) {
  return request(route, { query: imageQuery(query, body), body, signal, transfer });
}

/** Send the current image, or `body`, and return the JSON response. */
export const send = async (route, query = {}, signal = undefined, body = undefined) => parse(await sendForBytes(route, query, signal, body));

/**
 * Import a script of the page that the first view does not need. Like a request, it has a time-out, and emits `lost` if
 * it does not arrive.
 */
export async function load(name) {
  let timer = 0;
  const silence = new Promise((_, reject) => { timer = setTimeout(() => reject(new TypeError("The service did not answer.")), MAX_SILENCE_MS); });
  try {
    return await Promise.race([import(`./${name}.js`), silence]);
  } catch (error) {
    reportLost();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

let lost = false;
let poll = 0; // timer of the next look whether the service is back

/** Return whether the service did not answer the last request. */
export const isLost = () => lost;

/** Emit `lost` once, then wait until the service is ready again. */
function reportLost() {
  if (lost) return;
  lost = true;
  emit("lost");
  pollIn(FIRST_POLL_MS);
}

function pollIn(delay) {
  clearTimeout(poll);
  poll = setTimeout(() => lookWhetherReady(delay), delay);
}

/** Ask `/readyz`; emit `back` if the service is ready, else ask again, later each time. */
async function lookWhetherReady(delay) {
  try {
    const response = await fetch(address("readyz"), { cache: "no-store", signal: AbortSignal.timeout(MAX_SILENCE_MS) });
    if (!response.ok) throw new Error("not ready");
    lost = false;
    emit("back");
  } catch {
    pollIn(Math.min(delay * 1.5, MAX_POLL_MS));
  }
}

addEventListener("offline", reportLost);
addEventListener("online", () => lost && pollIn(0));
