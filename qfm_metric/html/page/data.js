// What the page holds, and how it is said. These files are joined into one block: document.SCRIPTS has their order.

const $ = (id) => document.getElementById(id);

function take(id) {
  const data = JSON.parse($(id).textContent);
  $(id).remove(); // tens of megabytes that would be kept twice
  return data;
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function drawn(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

const page = take("page-data");
const cards = take("card-data");
const scale = page.scale;
let shown = []; // indices into cards, in the order on the screen
let current = 0; // place in `shown` of the card that has the keyboard
let viewed = 0; // and of the one in the large view

const decimals = (value) => value.toFixed(3);
const signed = (value) => (scale.signed && value > 0 ? "+" : "") + decimals(value).replace("-", "−");
const counted = (count) => count.toLocaleString("en");
const spoken = (defect) => defect.replaceAll("_", " ");
const worstFirst = (costs) => [...costs].sort((a, b) => b[1] - a[1]);

/** Names and costs of what is wrong with a card's pictures, the worst first. */
function defectsOf(card) {
  const costs = new Map();
  for (const picture of card.pictures) {
    for (const [name, cost] of Object.entries(picture.defects || {})) costs.set(name, Math.max(cost, costs.get(name) || 0));
  }
  return worstFirst(costs);
}

// What filters and orders ask of each card, thousands of times.
for (const card of cards) {
  card.key = card.pictures.map((picture) => picture.path).join("\t");
  card.lower = card.name.toLowerCase();
  card.defects = defectsOf(card);
  card.pixels = Math.max(...card.pictures.map((picture) => (picture.width || 0) * (picture.height || 0)));
}

const SAID = 6000; // ms
let saying = 0; // a timer

/** Tell the user what was done, on the screen and to screen readers: in the page, and in the large view. */
function say(text) {
  for (const output of document.querySelectorAll(".said")) output.value = text;
  clearTimeout(saying);
  if (text) saying = setTimeout(say, SAID, "");
}
