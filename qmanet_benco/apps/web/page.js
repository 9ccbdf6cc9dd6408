// The picture of the page: photo, overlay, mask and noise view on one canvas. The threshold is applied here, from the
// probability that the server sent once; the network is not asked again.
(() => {
  const state = { token: null, view: "overlay", threshold: 0.5 };
  const root = () => document.querySelector(".qmanet-result");

  const load = (source) =>
    new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = reject;
      image.src = source;
    });

  const values = (image, width, height) => {
    const canvas = new OffscreenCanvas(width, height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0, width, height);
    return context.getImageData(0, 0, width, height);
  };

  async function open() {
    const box = root();
    if (!box || box.dataset.token === state.token) return;
    const token = box.dataset.token;
    state.token = token;
    state.photo = null;
    const base = `result/${token}/`;
    const [photo, probability, noise] = await Promise.all(
      ["photo.jpg", "preview.png", "noise.png"].map((name) => load(base + name)),
    );
    if (!root() || root().dataset.token !== token) return; // a newer photo came in between
    Object.assign(state, { noise, width: photo.width, height: photo.height });
    state.fractions = JSON.parse(box.dataset.fractions);
    state.photo = values(photo, photo.width, photo.height);
    const packed = values(probability, photo.width, photo.height).data;
    state.probability = new Uint16Array(photo.width * photo.height);
    for (let i = 0; i < state.probability.length; i++) state.probability[i] = packed[4 * i] * 256 + packed[4 * i + 1];
    draw();
  }

  function paint(pixels, marked, i) {
    const at = 4 * i;
    if (state.view === "mask") {
      pixels.fill(marked(i) ? 255 : 0, at, at + 3);
      return;
    }
    if (state.view !== "overlay") return;
    if (!marked(i)) {
      const grey = (pixels[at] + pixels[at + 1] + pixels[at + 2]) / 3;
      for (let c = at; c < at + 3; c++) pixels[c] += (grey - pixels[c]) * 0.75; // red must stand out on red photos too
      return;
    }
    const { width } = state;
    const edge = !marked(i - 1) || !marked(i + 1) || !marked(i - width) || !marked(i + width);
    const share = edge ? 1 : 0.5;
    pixels[at] += (255 - pixels[at]) * share;
    pixels[at + 1] += (60 - pixels[at + 1]) * share;
    pixels[at + 2] += (20 - pixels[at + 2]) * share;
  }

  function draw() {
    const box = root();
    if (!box || !state.photo) return;
    const canvas = box.querySelector("canvas");
    canvas.width = state.width;
    canvas.height = state.height;
    const context = canvas.getContext("2d");
    if (state.view === "noise") {
      context.imageSmoothingEnabled = false;
      context.drawImage(state.noise, 0, 0, state.width, state.height);
    } else {
      const picture = new ImageData(new Uint8ClampedArray(state.photo.data), state.width, state.height);
      const limit = state.threshold * 65535;
      const marked = (i) => state.probability[i] > limit;
      for (let i = 0; i < state.probability.length; i++) paint(picture.data, marked, i);
      context.putImageData(picture, 0, 0);
    }
    const step = Math.round(state.threshold * 100);
    box.querySelector(".qmanet-fraction").textContent = `${(100 * state.fractions[step]).toFixed(1)} %`;
    for (const tab of box.querySelectorAll(".qmanet-tabs button")) {
      tab.setAttribute("aria-pressed", tab.dataset.view === state.view);
      if (tab.dataset.view === state.view) box.querySelector(".qmanet-caption").textContent = tab.dataset.caption;
    }
    const mask = box.querySelector(".qmanet-mask");
    mask.href = `result/${state.token}/mask.png?threshold=${state.threshold.toFixed(2)}`;
    canvas.dataset.drawn = `${state.token} ${state.view} ${state.threshold.toFixed(2)}`;
  }

  let waiting = false;
  function later() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  }

  window.qmanet = {
    threshold: (value) => {
      state.threshold = Number(value);
      later();
    },
  };

  // Gradio puts a result on the page some time after the server's answer; it has no event for that
  new MutationObserver(open).observe(document.documentElement, { childList: true, subtree: true });

  document.addEventListener("click", (event) => {
    const tab = event.target.closest(".qmanet-tabs button");
    if (!tab) return;
    state.view = tab.dataset.view;
    later();
  });
})();
