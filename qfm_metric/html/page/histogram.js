// The histogram: what is shown, in front of all.

const HEIGHT = 100;
const bins = page.histogram.length;
const sum = (counts) => counts.reduce((a, b) => a + b, 0);
const binOf = (value) => Math.min(bins - 1, Math.max(0, Math.floor(((value - scale.low) / (scale.high - scale.low)) * bins + 1e-9)));

/** Rectangles of a bin, a group above the other. */
function stack(className, counts, bin, most) {
  let top = HEIGHT;
  return counts.flatMap((count, index) => {
    if (!count) return [];
    const height = (count / most) * HEIGHT;
    top -= height;
    return [drawn("rect", { class: `${className} g${page.groups[index].colour}`, x: bin + 0.08, y: top, width: 0.84, height })];
  });
}

function bar(bin, all, now, most) {
  const width = (scale.high - scale.low) / bins, from = scale.low + width * bin, to = from + width;
  const group = drawn("g", { class: "bin" }), title = drawn("title", {});
  title.textContent = `${decimals(from)} to ${decimals(to)}: ${sum(all)}`;
  group.append(title, drawn("rect", { class: "hit", x: bin, y: 0, width: 1, height: HEIGHT }));
  group.append(...stack("all", all, bin, most), ...stack("now", now, bin, most));
  group.addEventListener("click", () => {
    $("low").value = from.toFixed(4);
    $("high").value = to.toFixed(4);
    update();
  });
  return group;
}

function drawHistogram() {
  const now = page.histogram.map((counts) => counts.map(() => 0));
  for (const index of shown) if (cards[index].value !== null) now[binOf(cards[index].value)][cards[index].group]++;
  const most = Math.max(1, ...page.histogram.map(sum));
  const bars = page.histogram.map((all, bin) => bar(bin, all, now[bin], most));
  $("histogram").replaceChildren(...bars, drawn("line", { class: "axis", x1: 0, x2: bins, y1: HEIGHT, y2: HEIGHT }));
}

function caption(text, className, value) {
  const label = make("span", className, text);
  label.style.left = `${(100 * (value - scale.low)) / (scale.high - scale.low)}%`;
  return label;
}

function startHistogram() {
  const places = scale.ticks.every((tick) => Number.isInteger(tick * 10)) ? 1 : 2, last = scale.ticks.length - 1;
  $("histogram-caption").append(
    ...scale.ticks.map((tick, index) => caption(tick.toFixed(places).replace("-", "−"), index === last ? "last" : "", tick)),
    ...scale.words.map(({ name, centre }) => caption(name, "word", centre)),
  );
  $("histogram").setAttribute("viewBox", `0 0 ${bins} ${HEIGHT + 1}`);
  $("histogram").setAttribute("aria-label", `Histogram of the ${scale.value}: ` +
    page.groups.map((group) => `${group.name} ${group.count}`).join(", "));
}
