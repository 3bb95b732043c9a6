// Lists to take away: the paths of what is shown, and the marks as a plan of `qfm-metric cull`.

/** A card a line, in the order on the screen; the paths of a pair with a tab between them. */
const listOfPaths = () => shown.map((index) => `${cards[index].key}\n`).join("");

/** A field of a CSV file, as qfm-metric writes and reads it: what spreadsheets would compute gets an apostrophe. */
function field(text) {
  const safe = /^'*[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Where a picture goes below the folder of its decision: never outside it. */
function nameBelow(card, picture) {
  const parts = card.name.split(/[/\\]/);
  const inside = !parts.includes("..") && !/^([/\\]|[a-z]:)/i.test(card.name);
  return (card.pictures.length > 1 ? `${picture.label}/` : "") + (inside ? card.name : parts.at(-1));
}

/** The marked pictures, each once, as `qfm-metric cull --apply` reads them. */
function planOfMarks() {
  const lines = new Map();
  for (const card of cards.filter(({ key }) => marks.has(key))) {
    for (const picture of card.pictures) {
      const fields = [marks.get(card.key), picture.path, `${picture.score ?? ""}`, nameBelow(card, picture)];
      lines.set(picture.path, `${fields.map(field).join(",")}\n`);
    }
  }
  return ["decision,path,score,name\n", ...lines.values()].join("");
}

function saveFile(name, text) {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // when it is written
}

async function copyPaths() {
  try {
    await navigator.clipboard.writeText(listOfPaths());
    say(`Copied: ${counted(shown.length)}`);
  } catch {
    say("This browser does not let the page copy: use Save paths");
  }
}

function startLists() {
  $("copy").hidden = !navigator.clipboard;
  $("copy").addEventListener("click", copyPaths);
  $("save").addEventListener("click", () => saveFile("paths.txt", listOfPaths()));
  $("save-marks").addEventListener("click", () => saveFile("marks.csv", planOfMarks()));
}
