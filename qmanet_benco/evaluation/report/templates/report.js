// Fills the gallery from the JSON in #items, and sorts it by the F1 of one model or of all.
const items = JSON.parse(document.getElementById("items").textContent);
const [place, set, by, order] = ["gallery", "set", "by", "order"].map((id) => document.getElementById(id));

function element(kind, text = "", className = "") {
  const made = document.createElement(kind);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function fill(select, values) {
  for (const value of new Set(values)) {
    const option = element("option", value);
    option.value = value;
    select.append(option);
  }
}

function picture(source, text) {
  const figure = element("figure");
  if (source) {
    const image = element("img");
    image.src = source;
    image.alt = text;
    image.loading = "lazy";
    figure.append(image);
  }
  figure.append(element("figcaption", text));
  return figure;
}

function f1(item) {
  if (by.value === "") return item.mean;
  const mask = item.masks.find((each) => each.model === by.value);
  return mask && mask.f1 !== null ? mask.f1 : -1;
}

function entry(item) {
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
}

function show() {
  const sign = order.value === "worst" ? 1 : -1;
  const chosen = items.filter((item) => set.value === "" || item.set === set.value);
  chosen.sort((a, b) => sign * (f1(a) - f1(b)) || (a.name < b.name ? -1 : 1));
  place.replaceChildren(...chosen.map(entry));
  document.getElementById("count").textContent = `${chosen.length} images`;
}

fill(set, items.map((item) => item.set));
fill(by, items.flatMap((item) => item.masks.map((mask) => mask.model)));
for (const control of [set, by, order]) control.addEventListener("change", show);
show();
