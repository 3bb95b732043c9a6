// Collect in site/ what a static file server needs, except the model: qfm-metric export --onnx site/model.onnx
import { copyFileSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const runtime = join(here, "node_modules", "onnxruntime-web", "dist");
const site = join(here, "site");

mkdirSync(site, { recursive: true });
for (const name of ["index.html", "style.css", "score.js"]) copyFileSync(join(here, name), join(site, name));
for (const name of ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"]) {
  copyFileSync(join(runtime, name), join(site, name));
}
console.log(`${site}: add the model, then serve the folder`);
