// The large view, quality maps, and the list of keys.

const view = $("view"), help = $("help");

/** What is known of a picture, in words. */
function told(picture) {
  const parts = [];
  if (picture.label) parts.push(picture.label);
  if (picture.score !== null) {
    const std = picture.std === undefined ? "" : ` ± ${decimals(picture.std)}`;
    parts.push(`score ${decimals(picture.score)}${std}, ${picture.band}`);
  }
  if (picture.width && picture.height) parts.push(`${picture.width} × ${picture.height} px`);
  if (picture.note) parts.push(picture.note);
  const wrong = worstFirst(Object.entries(picture.defects || {}));
  if (wrong.length) parts.push(wrong.map(([name, cost]) => `${spoken(name)} ${cost.toFixed(2)}`).join(", "));
  return parts.join(" · ");
}

function figureOf(picture) {
  const figure = make("figure"), caption = make("figcaption"), text = told(picture);
  caption.append(make("span", "", text));
  if (picture.href) {
    const link = make("a", "", "open the file");
    Object.assign(link, { href: picture.href, target: "_blank", rel: "noopener" });
    caption.append(text ? " · " : "", link);
  }
  figure.append(frame(picture, true), caption);
  return figure;
}

function openView(place) {
  viewed = place;
  const card = cards[shown[viewed]];
  $("view-name").textContent = card.name;
  $("view-pictures").replaceChildren(...card.pictures.map(figureOf));
  $("view-note").hidden = !card.pictures.some((picture) => picture.thumbnail);
  $("previous").disabled = viewed === 0;
  $("next").disabled = viewed === shown.length - 1;
  showPressed();
  if (!view.open) view.showModal();
}

function step(by) {
  if (shown[viewed + by] !== undefined) openView(viewed + by);
}

/** Keys that hold on the whole page, but not while somebody types. */
function pressed(event) {
  if (!plain(event) || help.open || event.target.matches("input[type=search], input[type=number], select")) return;
  if (event.key === "?") help.showModal();
  if (!view.open) return;
  const steps = { ArrowLeft: -1, ArrowRight: 1 }, decision = DECISIONS[event.key.toLowerCase()];
  if (event.key in steps) step(steps[event.key]);
  if (decision !== undefined) decide(viewed, decision);
}

function showMaps(on) {
  document.body.classList.toggle("show-maps", on);
  $("maps").checked = $("view-maps").checked = on;
}

function startMaps() {
  const maps = cards.some((card) => card.pictures.some((picture) => picture.map));
  const ramp = `linear-gradient(to right, ${page.map_colours.map((colour) => `rgb(${colour})`)})`;
  for (const element of document.querySelectorAll(".maps")) element.hidden = !maps;
  for (const element of document.querySelectorAll(".ramp")) element.style.backgroundImage = ramp;
  for (const id of ["maps", "view-maps"]) $(id).addEventListener("change", (event) => showMaps(event.target.checked));
}

function startView() {
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("keys").addEventListener("click", () => help.showModal());
  for (const dialog of [view, help]) {
    dialog.querySelector(".close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // the backdrop
  }
  view.addEventListener("close", () => focusCard(viewed)); // the browser has gone back to where the view was opened
  document.addEventListener("keydown", pressed);
}
