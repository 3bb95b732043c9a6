// Which cards are shown, in which order.

const collator = new Intl.Collator(undefined, { numeric: true });
const rank = (card, sign) => (card.value === null ? Infinity : sign * card.value); // errors come last
const costOf = (card, defect) => (card.defects.find(([name]) => [name, ""].includes(defect)) || ["", 0])[1];
const compareBy = {
  order: () => 0,
  rising: (a, b) => rank(a, 1) - rank(b, 1),
  falling: (a, b) => rank(a, -1) - rank(b, -1),
  name: (a, b) => collator.compare(a.name, b.name),
  pixels: (a, b) => b.pixels - a.pixels,
};
const orders = new Map(); // all cards, sorted once a way

/** Indices of all cards as the boxes ask; by what the chosen defect costs, or the worst if none is chosen. */
function ordered() {
  const sort = $("sort").value, defect = $("defect").value, key = sort === "defect" ? `defect ${defect}` : sort;
  if (!orders.has(key)) {
    const compare = compareBy[sort] || ((a, b) => costOf(b, defect) - costOf(a, defect));
    orders.set(key, cards.map((_, index) => index).sort((a, b) => compare(cards[a], cards[b]) || a - b));
  }
  return orders.get(key);
}

/** Whether a card is what the boxes ask for. */
function filter() {
  const query = $("query").value.toLowerCase(), defect = $("defect").value, marked = $("marked").value;
  const groups = new Set(Array.from($("groups").querySelectorAll("input:checked"), (box) => Number(box.value)));
  const low = $("low").valueAsNumber, high = $("high").valueAsNumber;
  const ranged = !Number.isNaN(low) || !Number.isNaN(high);
  return (card) =>
    groups.has(card.group) && card.lower.includes(query) && (!defect || costOf(card, defect) > 0) &&
    (!marked || (marks.get(card.key) || "none") === marked) &&
    (card.value === null ? !ranged : !(card.value < low) && !(card.value > high));
}

function update() {
  const held = shown[current], matches = filter();
  shown = ordered().filter((index) => matches(cards[index]));
  current = Math.max(0, shown.indexOf(held));
  $("nothing").hidden = shown.length > 0;
  const of = page.total === cards.length ? "" : ` (of ${counted(page.total)}: ${page.kept})`;
  $("status").value = `${counted(shown.length)} of ${counted(cards.length)}${of} shown`;
  layOut();
  drawHistogram();
}

function groupBox(group, index) {
  const label = make("label"), box = make("input");
  Object.assign(box, { type: "checkbox", value: index, checked: true, defaultChecked: true });
  label.append(box, " ", make("span", `dot g${group.colour}`), ` ${group.name} `, make("span", "count", counted(group.count)));
  return label;
}

function startFilter() {
  $("range-name").textContent = scale.value[0].toUpperCase() + scale.value.slice(1);
  for (const id of ["low", "high"]) Object.assign($(id), { min: scale.low, max: scale.high });
  for (const [label, key] of page.sorts) $("sort").append(new Option(label, key));
  page.groups.forEach((group, index) => group.count && $("groups").append(groupBox(group, index)));
  const names = [...new Set(cards.flatMap((card) => card.defects.map(([name]) => name)))].sort();
  for (const name of names) $("defect").append(new Option(spoken(name), name));
  $("defects").hidden = !names.length;
  if (names.length) $("sort").append(new Option("worst defect first", "defect"));
  const narrow = matchMedia("(max-width: 40rem)"), fold = () => { $("filters").open = !narrow.matches; };
  narrow.addEventListener("change", fold);
  fold();
  $("controls").addEventListener("input", (event) => event.target.id !== "maps" && update());
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("controls").addEventListener("reset", () => setTimeout(() => { // the boxes are empty after the event
    showMaps(false);
    update();
  }));
}
