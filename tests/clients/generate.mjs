// Writes a service's types, as openapi-typescript makes them, with files as Blob instead of string.
// node generate.mjs http://127.0.0.1:8000/openapi.json > service.d.ts
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const blob = ts.factory.createTypeReferenceNode("Blob");
const types = await openapiTS(new URL(process.argv[2]), {
  transform: (schema) => (schema.format === "binary" ? blob : undefined),
});
process.stdout.write(astToString(types));
