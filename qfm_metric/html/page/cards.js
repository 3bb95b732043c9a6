// A card: its pictures, name, score and mark.

const dataUri = (type, base64) => `data:image/${type};base64,${base64}`;

function image(source, className) {
  const element = make("img", className);
  element.alt = "";
  element.src = source;
  return element;
}

/** A picture with its map, or why there is none. */
function frame(picture, large) {
  const box = make("span", "frame");
  const source = (large && picture.large) || picture.thumbnail;
  if (picture.error) box.append(make("span", "problem", picture.error));
  else if (!source) box.append(make("span", "none", "no preview"));
  else {
    const stack = make("span", "stack");
    stack.append(image(dataUri("jpeg", source), large && !picture.large ? "small" : ""));
    if (picture.map) stack.append(image(dataUri("png", picture.map), "map"));
    box.append(stack);
  }
  return box;
}

function labelled(picture) {
  const box = frame(picture, false);
  if (picture.label) box.append(make("span", "label", picture.label));
  return box;
}

function footOf(card) {
  const foot = make("span", "foot");
  if (card.value !== null) foot.append(make("b", "", signed(card.value)));
  foot.append(make("span", `dot g${page.groups[card.group].colour}`), page.groups[card.group].name);
  return foot;
}

/** Where the file's own name begins: that is what must not be cut, and stands before its folder. */
const startOfFile = (name) => name.lastIndexOf("/") + 1;

/** The list item of a card. */
function cardItem(index) {
  const card = cards[index], start = startOfFile(card.name);
  const item = make("li"), button = make("button", "card"), pictures = make("span", "pictures");
  button.type = "button";
  button.dataset.index = index;
  button.title = card.name;
  pictures.append(...card.pictures.map(labelled));
  button.append(pictures, make("span", "name", card.name.slice(start)));
  if (start) button.append(make("span", "folder", card.name.slice(0, start)));
  button.append(footOf(card), make("span", "mark"));
  if (card.defects.length) button.append(make("span", "defect", spoken(card.defects[0][0])));
  item.append(button);
  showMark(item, card);
  return item;
}

function showMark(item, card) {
  const decision = marks.get(card.key) || "";
  item.firstChild.dataset.mark = decision;
  item.querySelector(".mark").textContent = decision;
}
