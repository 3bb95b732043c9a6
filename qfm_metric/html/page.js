"use strict";
{
  const $ = (id) => document.getElementById(id);
  const take = (id) => {
    const data = JSON.parse($(id).textContent);
    $(id).remove(); // tens of megabytes that would be kept twice
    return data;
  };
  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const drawn = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const page = take("page-data");
  const cards = take("card-data");
  const scale = page.scale;
  const grid = $("grid"), view = $("view");
  const decimals = (value) => value.toFixed(3);
  const signed = (value) => (scale.signed && value > 0 ? "+" : "") + decimals(value).replace("-", "−");
  let shown = []; // indices into cards, in the order on the screen
  let current = 0; // place in `shown` of the card that has the keyboard
  let viewed = 0; // and of the one in the large view

  /** Names and costs of what is wrong with a card's pictures, the worst first. */
  function defectsOf(card) {
    const costs = new Map();
    for (const picture of card.pictures) {
      for (const [name, cost] of Object.entries(picture.defects || {})) costs.set(name, Math.max(cost, costs.get(name) || 0));
    }
    return [...costs].sort((a, b) => b[1] - a[1]);
  }

  // ---- cards

  const elements = cards.map((card, index) => {
    const item = make("li");
    const button = make("button", "card");
    button.type = "button";
    button.tabIndex = -1;
    button.dataset.index = index;
    button.title = card.name;
    const pictures = make("span", "pictures");
    const foot = make("span", "foot");
    if (card.value !== null) foot.append(make("b", "", signed(card.value)));
    foot.append(make("span", `dot g${page.groups[card.group].colour}`), page.groups[card.group].name);
    const [worst] = defectsOf(card);
    if (worst) foot.append(make("span", "defect", worst[0].replace("_", " ")));
    button.append(pictures, make("span", "name", card.name), foot);
    item.append(button);
    return item;
  });

  const dataUri = (type, base64) => `data:image/${type};base64,${base64}`;

  /** A picture with its map, or why there is none. */
  function frame(picture, large) {
    const box = make("span", "frame");
    const source = (large && picture.large) || picture.thumbnail;
    if (picture.error) box.append(make("span", "problem", picture.error));
    else if (!source) box.append(make("span", "none", "no preview"));
    else {
      const stack = make("span", "stack");
      const image = make("img", large && !picture.large ? "small" : "");
      image.alt = "";
      image.src = dataUri("jpeg", source);
      stack.append(image);
      if (picture.map) {
        const map = make("img", "map");
        map.alt = "";
        map.src = dataUri("png", picture.map);
        stack.append(map);
      }
      box.append(stack);
    }
    return box;
  }

  // A card's pictures are made when it comes near the screen.
  const observer = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      const button = target.firstChild;
      button.firstChild.append(...cards[button.dataset.index].pictures.map((picture) => {
        const box = frame(picture, false);
        if (picture.label) box.append(make("span", "label", picture.label));
        return box;
      }));
    }
  }, { rootMargin: "800px" });
  for (const element of elements) observer.observe(element);

  // ---- filter and sort

  const rank = (index, sign) => (cards[index].value === null ? Infinity : sign * cards[index].value); // errors come last
  const pixels = (card) => Math.max(...card.pictures.map((picture) => (picture.width || 0) * (picture.height || 0)));
  /** What the chosen defect costs, or the worst if none is chosen; 0 if it is not there. */
  const costOf = (card) => {
    const found = defectsOf(card).find(([name]) => [name, ""].includes($("defect").value));
    return found ? found[1] : 0;
  };
  const collator = new Intl.Collator(undefined, { numeric: true });
  const sorts = {
    order: (a, b) => a - b,
    rising: (a, b) => rank(a, 1) - rank(b, 1) || a - b,
    falling: (a, b) => rank(a, -1) - rank(b, -1) || a - b,
    name: (a, b) => collator.compare(cards[a].name, cards[b].name) || a - b,
    pixels: (a, b) => pixels(cards[b]) - pixels(cards[a]) || a - b,
    defect: (a, b) => costOf(cards[b]) - costOf(cards[a]) || a - b,
  };

  function update() {
    const query = $("query").value.toLowerCase();
    const groups = new Set(Array.from($("groups").querySelectorAll("input:checked"), (box) => Number(box.value)));
    const low = $("low").valueAsNumber, high = $("high").valueAsNumber;
    const ranged = !Number.isNaN(low) || !Number.isNaN(high);
    const matches = (card) =>
      groups.has(card.group) && (!$("defect").value || costOf(card) > 0) && card.name.toLowerCase().includes(query) &&
      (card.value === null ? !ranged : !(card.value < low) && !(card.value > high));
    const held = shown[current];
    if (held !== undefined) elements[held].firstChild.tabIndex = -1;
    const now = cards.map((_, index) => index).filter((index) => matches(cards[index])).sort(sorts[$("sort").value]);
    // Thousands of hidden elements would take seconds to style: what is not shown is not in the page.
    if (String(now) !== String(shown)) grid.replaceChildren(...now.map((index) => elements[index]));
    shown = now;
    current = Math.max(0, shown.indexOf(held));
    if (shown.length) elements[shown[current]].firstChild.tabIndex = 0;
    $("nothing").hidden = shown.length > 0;
    const of = page.total === cards.length ? "" : ` (of ${page.total.toLocaleString("en")}: ${page.kept})`;
    $("status").value = `${shown.length.toLocaleString("en")} of ${cards.length.toLocaleString("en")}${of} shown`;
    drawHistogram();
  }

  // ---- histogram: what is shown in front of all

  const bins = page.histogram.length;
  const binOf = (value) => Math.min(bins - 1, Math.max(0, Math.floor(((value - scale.low) / (scale.high - scale.low)) * bins + 1e-9)));

  function drawHistogram() {
    const now = page.histogram.map((counts) => counts.map(() => 0));
    for (const index of shown) if (cards[index].value !== null) now[binOf(cards[index].value)][cards[index].group]++;
    const most = Math.max(1, ...page.histogram.map((counts) => counts.reduce((a, b) => a + b, 0)));
    const height = 100, svg = $("histogram");
    const bars = page.histogram.map((counts, bin) => {
      const from = scale.low + ((scale.high - scale.low) * bin) / bins, to = from + (scale.high - scale.low) / bins;
      const group = drawn("g", { class: "bin" });
      const title = drawn("title", {});
      const all = counts.reduce((a, b) => a + b, 0);
      title.textContent = `${decimals(from)} to ${decimals(to)}: ${all}`;
      group.append(title, drawn("rect", { class: "hit", x: bin, y: 0, width: 1, height }));
      for (const [className, stack] of [["all", counts], ["now", now[bin]]]) {
        let top = height;
        stack.forEach((count, index) => {
          if (!count) return;
          const size = (count / most) * height;
          top -= size;
          group.append(drawn("rect", { class: `${className} g${page.groups[index].colour}`, x: bin + 0.08, y: top, width: 0.84, height: size }));
        });
      }
      group.addEventListener("click", () => {
        $("low").value = from.toFixed(4);
        $("high").value = to.toFixed(4);
        update();
      });
      return group;
    });
    svg.setAttribute("viewBox", `0 0 ${bins} ${height + 1}`);
    svg.replaceChildren(...bars, drawn("line", { class: "axis", x1: 0, x2: bins, y1: height, y2: height }));
  }

  function setUp() {
    const place = (value) => `${(100 * (value - scale.low)) / (scale.high - scale.low)}%`;
    const caption = $("histogram-caption");
    scale.ticks.forEach((tick, index) => {
      const label = make("span", index === scale.ticks.length - 1 ? "last" : "", tick.toFixed(scale.ticks.every((t) => Number.isInteger(t * 10)) ? 1 : 2).replace("-", "−"));
      label.style.left = place(tick);
      caption.append(label);
    });
    for (const { name, centre } of scale.words) {
      const word = make("span", "word", name);
      word.style.left = place(centre);
      caption.append(word);
    }
    $("histogram").setAttribute("aria-label", `Histogram of the ${scale.value}: ` +
      page.groups.map((group) => `${group.name} ${group.count}`).join(", "));
    $("range-name").textContent = scale.value[0].toUpperCase() + scale.value.slice(1);
    for (const id of ["low", "high"]) Object.assign($(id), { min: scale.low, max: scale.high });
    for (const [label, key] of page.sorts) $("sort").append(new Option(label, key));
    page.groups.forEach((group, index) => {
      if (!group.count) return;
      const label = make("label"), box = make("input");
      Object.assign(box, { type: "checkbox", value: index, checked: true, defaultChecked: true });
      label.append(box, " ", make("span", `dot g${group.colour}`), ` ${group.name} `, make("span", "count", group.count.toLocaleString("en")));
      $("groups").append(label);
    });
    const names = [...new Set(cards.flatMap((card) => defectsOf(card).map(([name]) => name)))].sort();
    for (const name of names) $("defect").append(new Option(name.replace("_", " "), name));
    $("defects").hidden = !names.length;
    if (names.length) $("sort").append(new Option("worst defect first", "defect"));
    const maps = cards.some((card) => card.pictures.some((picture) => picture.map));
    for (const label of document.querySelectorAll("label.maps")) label.hidden = !maps;
    grid.classList.toggle("pairs", cards.some((card) => card.pictures.length > 1));
  }

  // ---- keyboard: one card is a stop of the Tab key, arrows move between cards

  function focusCard(place) {
    if (!shown.length) return;
    elements[shown[current]].firstChild.tabIndex = -1;
    current = Math.min(shown.length - 1, Math.max(0, place));
    const button = elements[shown[current]].firstChild;
    button.tabIndex = 0;
    button.focus();
  }

  grid.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const place = current + steps[event.key];
    const beside = Math.abs(steps[event.key]) === columns && columns > 1;
    if (!(beside && (place < 0 || place >= shown.length))) focusCard(place); // no jump sideways from the first or last line
  });
  grid.addEventListener("focusin", (event) => {
    const button = event.target.closest(".card");
    if (button) {
      elements[shown[current]].firstChild.tabIndex = -1;
      current = shown.indexOf(Number(button.dataset.index));
      button.tabIndex = 0;
    }
  });
  grid.addEventListener("click", (event) => {
    const button = event.target.closest(".card");
    if (button) openView(shown.indexOf(Number(button.dataset.index)));
  });

  // ---- large view

  function openView(place) {
    viewed = place;
    const card = cards[shown[viewed]];
    $("view-name").textContent = card.name;
    $("view-pictures").replaceChildren(...card.pictures.map((picture) => {
      const figure = make("figure"), caption = make("figcaption");
      const parts = [];
      if (picture.label) parts.push(picture.label);
      if (picture.score !== null) {
        const std = picture.std === undefined ? "" : ` ± ${decimals(picture.std)}`;
        parts.push(`score ${decimals(picture.score)}${std}, ${picture.band}`);
      }
      if (picture.width && picture.height) parts.push(`${picture.width} × ${picture.height} px`);
      if (picture.note) parts.push(picture.note);
      const wrong = Object.entries(picture.defects || {}).sort((a, b) => b[1] - a[1]);
      if (wrong.length) parts.push(wrong.map(([name, cost]) => `${name.replace("_", " ")} ${cost.toFixed(2)}`).join(", "));
      caption.append(make("span", "", parts.join(" · ")));
      if (picture.href) {
        const link = make("a", "", "open the file");
        Object.assign(link, { href: picture.href, target: "_blank", rel: "noopener" });
        caption.append(parts.length ? " · " : "", link);
      }
      figure.append(frame(picture, true), caption);
      return figure;
    }));
    $("view-note").hidden = !card.pictures.some((picture) => picture.thumbnail);
    $("previous").disabled = viewed === 0;
    $("next").disabled = viewed === shown.length - 1;
    if (!view.open) view.showModal();
  }

  function step(by) {
    if (shown[viewed + by] !== undefined) openView(viewed + by);
  }

  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("close").addEventListener("click", () => view.close());
  view.addEventListener("click", (event) => event.target === view && view.close()); // the backdrop
  document.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1 };
    if (view.open && event.key in steps) step(steps[event.key]);
  });
  view.addEventListener("close", () => focusCard(viewed)); // the browser has gone back to where the view was opened

  for (const id of ["maps", "view-maps"]) {
    $(id).addEventListener("change", (event) => {
      document.body.classList.toggle("show-maps", event.target.checked);
      $("maps").checked = $("view-maps").checked = event.target.checked;
    });
  }
  $("controls").addEventListener("input", (event) => event.target.id !== "maps" && update());
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("controls").addEventListener("reset", () => setTimeout(() => {
    document.body.classList.remove("show-maps");
    $("view-maps").checked = false;
    update();
  }));
  setUp();
  update();
}
