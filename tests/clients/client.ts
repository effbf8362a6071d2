// Asks a service through the generated types and prints what it said.
// node client.js http://127.0.0.1:8000 digit.png other.png
import { readFileSync } from "node:fs";
import createClient from "openapi-fetch";
import type { paths } from "./service.js";

const [address, ...files] = process.argv.slice(2);
const [digit, other] = files.map((path) => new Blob([readFileSync(path)], { type: "image/png" }));
if (address === undefined || digit === undefined || other === undefined) {
  throw new Error("expected an address and two files");
}

// A file is sent as it is, files by name as a form, everything else as JSON.
function serialize(body: unknown): BodyInit {
  if (body instanceof Blob) return body;
  const { file, files } = body as { file?: Blob; files?: Blob[] };
  if (file === undefined && files === undefined) return JSON.stringify(body);
  const form = new FormData();
  if (file !== undefined) form.append("file", file, "digit.png");
  for (const each of files ?? []) form.append("files", each, "digit.png");
  return form;
}

function expected<T>(answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

const service = createClient<paths, "application/json" | "application/problem+json">({
  baseUrl: address,
  bodySerializer: serialize,
});
const query = { model: "classic" };
const params = { query };
const body = { file: digit };

const byForm = expected(await service.POST("/predict", { params, body }));
const byBytes = expected(
  await service.POST("/predict", { params, body: digit, headers: { "Content-Type": digit.type } }),
);
const prepared = expected(
  await service.POST("/preprocess", {
    params: { query: { ...query, polarity: "light-on-dark", format: "json" } },
    body,
  }),
);
const byPixels = expected(
  await service.POST("/predict", { params, body: { pixels: prepared.pixels } }),
);
const batch = expected(
  await service.POST("/predict/batch", { params, body: { files: [digit, other, new Blob()] } }),
);
const page = expected(await service.POST("/read", { params, body }));
const layers = expected(
  await service.GET("/models/{model}/layers", { params: { path: { model: "classic" } } }),
);
const seen = expected(await service.POST("/inspect", { params, body }));
const why = expected(
  await service.POST("/explain", {
    params: { query: { ...query, method: "gradient", checks: false, format: "json" } },
    body,
  }),
);
const inferred = expected(
  await service.POST("/v2/models/{model}/infer", {
    params: { path: { model: "classic" } },
    body: {
      inputs: [{ name: "image", shape: [1, 28, 28], datatype: "UINT8", data: prepared.pixels }],
    },
  }),
);
const refused = await service.POST("/predict", { params: { query: { model: "nope" } }, body });

console.log(
  JSON.stringify({
    digits: [byForm, byBytes, byPixels].map((answer) => answer.digit),
    verdict: byForm.verdict,
    batch: batch.map((item) => ("error" in item ? item.error.status : item.digit)),
    text: page.text,
    stages: prepared.stages.map((stage) => stage.name),
    layers: layers.layers.map((layer) => layer.name),
    inspected: seen.layers.map((layer) => layer.name),
    method: why.method,
    outputs: inferred.outputs.map((output) => output.name),
    problem: refused.error,
  }),
);
