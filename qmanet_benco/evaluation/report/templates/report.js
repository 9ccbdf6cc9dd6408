// Sorts tables by the column whose head is pressed; fills the gallery from the JSON in #items and sorts it by F1.
function element(kind, text = "", className = "") {
  const made = document.createElement(kind);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function valueOf(body, column) {
  const cell = body.rows[0].cells[column];
  const text = cell.textContent.trim();
  const number = Number.parseFloat(text);
  const isWord = Number.isNaN(number) || cell.tagName === "TH" || cell.classList.contains("word");
  return isWord ? text.toLowerCase() : number;
}

function compare(a, b) {
  if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
  return typeof a === "number" ? 1 : -1; // words and empty cells are less than any number
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll(".heads th")];
  heads.forEach((head, column) => {
    const button = element("button", head.textContent);
    button.type = "button";
    button.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") === "descending" || (column === 0 && !head.ariaSort);
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const sign = ascending ? 1 : -1;
      const bodies = [...table.tBodies].map((body) => [valueOf(body, column), body]);
      bodies.sort((a, b) => sign * compare(a[0], b[0]));
      table.append(...bodies.map((pair) => pair[1]));
    });
    head.replaceChildren(button);
  });
}

// Paper shows what a click would open, but for the table of everything, which no sheet can hold.
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details.note, #summary details")) part.open = true;
});

const held = document.getElementById("items");
if (held) {
  const items = JSON.parse(held.textContent);
  const [place, set, by, order] = ["gallery", "set", "by", "order"].map((id) => document.getElementById(id));

  const fill = (select, values) => {
    for (const value of new Set(values)) {
      const option = element("option", value);
      option.value = value;
      select.append(option);
    }
  };

  const picture = (source, text) => {
    const figure = element("figure");
    if (source) {
      const image = element("img");
      image.src = source;
      image.alt = text;
      figure.append(image);
    }
    figure.append(element("figcaption", text));
    return figure;
  };

  const f1 = (item) => {
    if (by.value === "") return item.mean;
    const mask = item.masks.find((each) => each.model === by.value);
    return mask && mask.f1 !== null ? mask.f1 : -1;
  };

  const entry = (item) => {
    const box = element("div", "", "item");
    box.dataset.name = item.name;
    box.dataset.f1 = f1(item);
    const strip = element("div", "", "strip");
    strip.append(picture(item.photo, "photo"), picture(item.truth, "truth"));
    for (const mask of item.masks) {
      strip.append(picture(mask.image, mask.model + (mask.f1 === null ? "" : `, F1 ${mask.f1.toFixed(3)}`)));
    }
    if (item.disagreement) strip.append(picture(item.disagreement, "disagreement of the models"));
    box.append(element("div", `${item.set} / ${item.name}, mean F1 ${item.mean.toFixed(3)}`), strip);
    return box;
  };

  const show = () => {
    const sign = order.value === "worst" ? 1 : -1;
    const chosen = items.filter((item) => set.value === "" || item.set === set.value);
    chosen.sort((a, b) => sign * (f1(a) - f1(b)) || (a.name < b.name ? -1 : 1));
    place.replaceChildren(...chosen.map(entry));
    document.getElementById("count").textContent = `${chosen.length} images`;
  };

  fill(set, items.map((item) => item.set));
  fill(by, items.flatMap((item) => item.masks.map((mask) => mask.model)));
  for (const control of [set, by, order]) control.addEventListener("change", show);
  show();
}
