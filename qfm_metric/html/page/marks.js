// Marks: what the user decides about each card, kept by the browser for this page's place.

const DECISIONS = { k: "keep", x: "reject", u: "" }; // by key
const STORE = `qfm-metric marks ${location.pathname}`; // pages in files share one storage
const marks = readMarks(); // card's key to "keep" or "reject"

function readMarks() {
  try {
    const stored = Object.entries(JSON.parse(localStorage.getItem(STORE)) || {});
    return new Map(stored.filter(([, decision]) => ["keep", "reject"].includes(decision)));
  } catch { // no storage here, or not ours
    return new Map();
  }
}

/** Whether the browser keeps them. */
function storeMarks() {
  try {
    localStorage.setItem(STORE, JSON.stringify(Object.fromEntries(marks)));
    return true;
  } catch { // none for files, or full
    return false;
  }
}

/** Mark a card, or take its mark away; go on where it was if the filter lets it go. */
function decide(place, decision) {
  const index = shown[place], card = cards[index];
  if (decision) marks.set(card.key, decision);
  else marks.delete(card.key);
  const lost = storeMarks() ? "" : "; this browser forgets marks with the page: save them";
  say(`${card.name}: ${decision || "no mark"}${lost}`);
  if (items.has(index)) showMark(items.get(index), card);
  showCounts();
  if ($("marked").value) {
    update();
    current = Math.min(place, Math.max(0, shown.length - 1));
    if (!view.open) focusCard(place);
    else if (shown.length) openView(current);
    else view.close();
  }
  showPressed();
}

/** How many cards have which mark, where one chooses among them. */
function showCounts() {
  const counts = { "": cards.length, keep: 0, reject: 0, none: 0 };
  for (const card of cards) counts[marks.get(card.key) || "none"]++;
  for (const option of $("marked").options) option.text = `${option.dataset.name} ${counted(counts[option.value])}`;
  $("save-marks").hidden = counts.none === cards.length;
}

/** The buttons of the large view. */
function showPressed() {
  const card = cards[shown[viewed]];
  for (const button of $("view-marks").children) button.ariaPressed = marks.get(card && card.key) === button.value;
}

function startMarks() {
  $("view-marks").addEventListener("click", ({ target }) => {
    const button = target.closest("button");
    if (button) decide(viewed, button.ariaPressed === "true" ? "" : button.value);
  });
  showCounts();
}
