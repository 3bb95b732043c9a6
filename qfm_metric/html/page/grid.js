// The grid: all cards have their places, and those near the screen are in the page. Thousands more would make it stutter.

const grid = $("grid");
const items = new Map(); // index of a card to its list item, of those in the page
let columns = 1;
let awaited = false; // a drawing

/** Pixels of a length that the style sheet gives in rem. */
function pixelsOf(name) {
  const unit = parseFloat(getComputedStyle(document.documentElement).fontSize);
  return parseFloat(getComputedStyle(grid).getPropertyValue(name)) * unit;
}

/** Fit columns into the window. */
function layOut() {
  const gap = pixelsOf("--gap"), controls = $("controls");
  columns = Math.max(1, Math.floor((grid.clientWidth + gap) / (pixelsOf("--least") + gap)));
  grid.style.setProperty("--columns", columns);
  grid.style.setProperty("--lines", Math.ceil(shown.length / columns));
  const covered = getComputedStyle(controls).position === "sticky" ? controls.offsetHeight : 0;
  document.documentElement.style.scrollPaddingTop = `${covered + 16}px`; // what has the focus is not under the controls
  draw();
}

/** Places, in order: within a screen of what can be seen, and that of the card that has the keyboard. */
function placesToDraw() {
  const line = pixelsOf("--row") + pixelsOf("--gap"), top = -grid.getBoundingClientRect().top;
  const from = Math.max(0, Math.floor((top - innerHeight) / line) * columns);
  const to = Math.min(shown.length, Math.ceil((top + 2 * innerHeight) / line) * columns);
  const places = [];
  for (let place = from; place < to; place++) places.push(place);
  if (current < from && current < shown.length) places.unshift(current);
  else if (current >= to && current < shown.length) places.push(current);
  return places;
}

function draw() {
  awaited = false;
  const places = placesToDraw(), wanted = new Set(places.map((place) => shown[place]));
  for (const [index, item] of items) {
    if (wanted.has(index)) continue;
    item.remove();
    items.delete(index);
  }
  let next = grid.firstChild;
  for (const place of places) { // what is in its place already is not touched, and keeps the focus
    const item = itemOf(shown[place]);
    if (item === next) next = item.nextSibling;
    else grid.insertBefore(item, next);
    put(item, place);
  }
}

function itemOf(index) {
  if (!items.has(index)) items.set(index, cardItem(index));
  return items.get(index);
}

function put(item, place) {
  item.style.setProperty("--line", Math.floor(place / columns));
  item.style.setProperty("--column", place % columns);
  item.ariaSetSize = shown.length;
  item.ariaPosInSet = place + 1;
  item.firstChild.tabIndex = place === current ? 0 : -1;
}

function drawSoon() {
  if (!awaited) requestAnimationFrame(draw);
  awaited = true;
}

// ---- keyboard: one card is a stop of the Tab key, arrows move between cards

function focusCard(place) {
  if (!shown.length) return;
  current = Math.min(shown.length - 1, Math.max(0, place));
  draw();
  items.get(shown[current]).firstChild.focus();
}

const placeOf = (button) => shown.indexOf(Number(button.dataset.index));
const plain = (event) => !(event.ctrlKey || event.altKey || event.metaKey);

function moveOrMark(event) {
  if (!plain(event)) return;
  const decision = DECISIONS[event.key.toLowerCase()];
  if (decision !== undefined) decide(current, decision);
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -Infinity, End: Infinity };
  if (!(event.key in steps)) return;
  event.preventDefault();
  const place = current + steps[event.key];
  const beside = Math.abs(steps[event.key]) === columns && columns > 1;
  if (!(beside && (place < 0 || place >= shown.length))) focusCard(place); // no jump sideways from the first or last line
}

function takeFocus(event) {
  const button = event.target.closest(".card");
  if (!button || placeOf(button) === current) return;
  current = placeOf(button);
  draw();
}

function startGrid() {
  grid.classList.toggle("pairs", cards.some((card) => card.pictures.length > 1));
  const more = cards.some((card) => startOfFile(card.name)) + cards.some((card) => card.defects.length); // lines of text
  grid.style.setProperty("--row", `${parseFloat(getComputedStyle(grid).getPropertyValue("--row")) + more}rem`);
  grid.addEventListener("keydown", moveOrMark);
  grid.addEventListener("focusin", takeFocus);
  grid.addEventListener("click", (event) => {
    const button = event.target.closest(".card");
    if (button) openView(placeOf(button));
  });
  addEventListener("scroll", drawSoon, { passive: true });
  addEventListener("resize", layOut);
}
