// Scores pictures with onnxruntime-web: decode, orient, convert to sRGB, run. No picture leaves the page.
import * as ort from "./ort.wasm.bundle.min.mjs";

const LARGEST = 100e6; // pixels; the network's input takes 12 bytes for each
const THUMBNAIL = 192; // px of a side
const $ = (id) => document.getElementById(id);
const status = (text) => ($("status").textContent = text);

ort.env.wasm.numThreads = 1; // more threads need headers (COOP, COEP) that a plain file server does not send
const session = ort.InferenceSession.create("model.onnx", { executionProviders: ["wasm"] });

/** A picture file as RGBA pixels in sRGB, upright, on white. */
async function decode(file) {
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image", premultiplyAlpha: "none" });
  try {
    const { width, height } = bitmap;
    if (width * height > LARGEST) throw new Error(`${width} x ${height} px are too many for this page`);
    const context = newCanvas(width, height).getContext("2d", { colorSpace: "srgb", willReadFrequently: true });
    context.fillStyle = "white";
    context.fillRect(0, 0, width, height);
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, width, height, { colorSpace: "srgb" });
  } finally {
    bitmap.close();
  }
}

function newCanvas(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

/** RGBA pixels as the network's input: (1, 3, height, width), float in [0, 1]. */
function toTensor({ data, width, height }) {
  const area = width * height;
  const values = new Float32Array(3 * area);
  for (let i = 0; i < area; i++) {
    for (let channel = 0; channel < 3; channel++) values[channel * area + i] = data[4 * i + channel] / 255;
  }
  return new ort.Tensor("float32", values, [1, 3, height, width]);
}

/** A picture file's score, from 0 (bad) to 1 (excellent), and its pixels. */
async function score(file) {
  const pixels = await decode(file).catch((error) => {
    throw error instanceof DOMException ? new Error("not a picture that this browser can read") : error;
  });
  const images = toTensor(pixels);
  const { scores } = await (await session).run({ images });
  images.dispose();
  return { score: scores.data[0], pixels };
}

function thumbnail(pixels) {
  const full = newCanvas(pixels.width, pixels.height);
  full.getContext("2d").putImageData(pixels, 0, 0);
  const scale = Math.min(1, THUMBNAIL / Math.max(full.width, full.height));
  const small = newCanvas(Math.max(1, full.width * scale), Math.max(1, full.height * scale));
  const context = small.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(full, 0, 0, small.width, small.height);
  small.setAttribute("aria-hidden", "true");
  return small;
}

function element(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}

async function showScore(file) {
  const row = document.createElement("li");
  try {
    const { score: value, pixels } = await score(file);
    row.dataset.score = value;
    row.append(
      thumbnail(pixels),
      element("span", { className: "name", textContent: file.name, title: file.name }),
      element("span", { className: "score", textContent: value.toFixed(3) }),
      element("meter", { value, ariaLabel: `score of ${file.name}` }),
    );
  } catch (error) {
    row.append(element("span", { className: "error", textContent: `${file.name}: ${error.message}` }));
  }
  $("results").prepend(row);
}

let queue = Promise.resolve(); // one picture at a time, whatever is dropped meanwhile

function add(files) {
  for (const file of files) {
    queue = queue.then(async () => {
      status(`Scoring ${file.name} …`);
      await new Promise((painted) => requestAnimationFrame(() => setTimeout(painted)));
      await showScore(file);
      status("");
    });
  }
}

$("files").addEventListener("change", ({ target }) => {
  add(target.files);
  target.value = ""; // the same file may be chosen again
});
for (const type of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault(); // the browser would open the picture instead of the page
    $("drop").classList.toggle("over", type === "dragover");
    if (type === "drop") add(event.dataTransfer.files);
  });
}

session.then(
  () => status(""),
  (error) => status(`Cannot load the network: ${error.message}`),
);
