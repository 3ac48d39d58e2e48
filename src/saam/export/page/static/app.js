// The page: choose an image, see the prediction and the score maps, and change the temperature of the scores.

import { listenForCamera } from "./camera.js";
import { drawPicture, isMean, relativeMap } from "./draw.js";
import { loadNetwork } from "./model.js";
import { cropOf, decode, pixelsOf, toInput } from "./pixels.js";

const MOST_CLASSES = 5;
const SHARPEST = 1e4;
const SIDE = { picture: 640, thumbnail: 160 };

const $ = (id) => document.getElementById(id);
const state = { page: null, network: null, picture: null, name: "", input: null, outputs: null, site: null };

/** Return the factor on the scores for a place of the slider: 0 at the left, 1 in the middle, large at the right. */
function sharpness() {
  const place = Number($("sharpness").value) / 100;
  return place < 1 ? Math.min(SHARPEST, (place / (1 - place)) ** 2) : SHARPEST;
}

function tell(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

// ---------------------------------------------------------------------------------------------------- computation

let again = false;
let running = null;

/** Run the network on the image and draw the result; while it runs, only the last request is kept. */
function update() {
  again = true;
  running ??= compute().finally(() => {
    running = null;
  });
  return running;
}

async function compute() {
  while (again && state.input) {
    again = false;
    const started = performance.now();
    try {
      state.outputs = await state.network.run(state.input, sharpness());
    } catch (error) {
      tell(`The network failed on this image: ${error.message}`);
      return;
    }
    document.body.dataset.milliseconds = (performance.now() - started).toFixed(1);
    showPrediction();
    if (state.site === null) select(strongestSite());
    offerHeads();
    showMaps();
  }
}

function probabilities() {
  const logits = [...state.outputs.logits.data];
  const largest = Math.max(...logits);
  const powers = logits.map((logit) => Math.exp(logit - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

// -------------------------------------------------------------------------------------------------------- display

const percent = (share) => `${(100 * share).toFixed(1)} %`;

function showPrediction() {
  const shares = probabilities();
  const order = shares.map((_, index) => index).sort((a, b) => shares[b] - shares[a]);
  $("classes").replaceChildren(
    ...order.slice(0, MOST_CLASSES).map((index) => {
      const row = document.createElement("li");
      const [name, bar, share] = ["span", "div", "span"].map((kind) => document.createElement(kind));
      name.textContent = state.page.preprocessing.classes[index];
      name.className = "name";
      bar.className = "bar";
      bar.append(document.createElement("div"));
      bar.firstChild.style.width = `${100 * shares[index]}%`;
      share.textContent = percent(shares[index]);
      share.className = "share";
      row.append(name, bar, share);
      return row;
    }),
  );
  document.body.dataset.probabilities = JSON.stringify(shares);
  const [shown, said] = temperature();
  $("temperature").textContent = shown;
  $("sharpness").setAttribute("aria-valuetext", said);
}

/** Say the prediction to screen readers, once it has settled. */
function speak() {
  if (state.outputs) {
    const shares = probabilities();
    const best = shares.indexOf(Math.max(...shares));
    $("spoken").textContent = `Predicted ${state.page.preprocessing.classes[best]} with ${percent(shares[best])}`;
  }
}

/** Return the temperature to show, and to say. */
function temperature() {
  const factor = sharpness();
  if (factor === 0) return ["∞", "infinite, the mean"];
  if (factor === SHARPEST) return ["0", "zero, the maximum"];
  const text = String(Number((1 / factor).toPrecision(2)));
  return [text, factor === 1 ? `${text}, as trained` : text];
}

function showMaps() {
  const { picture, outputs, site, page } = state;
  const crop = cropOf(picture, page.preprocessing.size);
  const head = Number($("head").value);
  for (const name of page.sites) {
    drawPicture($(`map ${name}`), picture, crop, relativeMap(outputs[name], Math.min(head, outputs[name].dims[1] - 1)));
  }
  if (!site) {
    drawPicture($("picture"), picture, crop, null);
    $("picture").setAttribute("aria-label", state.name);
    $("caption").textContent = "This network has no score squeeze, so there are no score maps.";
    return;
  }
  const map = relativeMap(outputs[site], head);
  const better = isMean(map) && page.sites.some((name) => !isMean(meanMap(name)));
  drawPicture($("picture"), picture, crop, map);
  const said = isMean(map)
    ? `nearly the mean, all pixels count alike${better ? "; choose another site below" : ""}`
    : `the brightest pixel has ${map.largest.toFixed(1)} times the weight of the mean`;
  $("caption").textContent = `${site}: ${said}`;
  $("picture").setAttribute("aria-label", `${state.name}, with the score map of ${site}: ${said}`);
}

/** Return the map of a site, the mean over its heads. */
function meanMap(site) {
  return relativeMap(state.outputs[site], -1);
}

/** Return the site with the largest weight of a pixel relative to the mean; null if there are no sites. */
function strongestSite() {
  const largest = new Map(state.page.sites.map((name) => [name, meanMap(name).largest]));
  return state.page.sites.reduce((best, name) => (largest.get(name) > (largest.get(best) ?? 0) ? name : best), null);
}

function select(site) {
  state.site = site;
  for (const choice of $("sites").querySelectorAll("input")) choice.checked = choice.value === site;
}

/** Offer the heads of the chosen site, if it has several. */
function offerHeads() {
  const heads = state.outputs?.[state.site]?.dims[1] ?? 1;
  $("heads").hidden = heads === 1;
  if ($("head").options.length !== heads + 1) {
    const names = ["all", ...Array.from({ length: heads }, (_, head) => String(head + 1))];
    $("head").replaceChildren(...names.map((name, index) => new Option(name, String(index - 1))));
  }
}

function offerSites() {
  const { sites } = state.page;
  for (const id of ["maps", "pooling"]) $(id).hidden = !sites.length;
  $("sites").replaceChildren(
    ...sites.map((name) => {
      const label = document.createElement("label");
      const choice = Object.assign(document.createElement("input"), { type: "radio", name: "site", value: name });
      choice.addEventListener("change", () => {
        state.site = name;
        offerHeads();
        if (state.outputs) showMaps();
      });
      const canvas = shaped(document.createElement("canvas"), SIDE.thumbnail);
      canvas.id = `map ${name}`;
      canvas.setAttribute("aria-hidden", "true");
      const text = document.createElement("span");
      text.textContent = name;
      label.append(choice, canvas, text);
      return label;
    }),
  );
}

/** Give a canvas the shape of the network's input. */
function shaped(canvas, side) {
  const [height, width] = state.page.preprocessing.size;
  const scale = side / Math.max(height, width);
  return Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
}

// --------------------------------------------------------------------------------------------------------- images

async function show(picture, name) {
  tell("");
  Object.assign(state, { picture, name, input: toInput(pixelsOf(picture), state.page.preprocessing) });
  await update();
  speak();
}

async function open(blob, name) {
  try {
    await show(await decode(blob, name), name);
  } catch (error) {
    tell(error.message);
  }
}

function press(chosen) {
  for (const button of $("samples").children) button.setAttribute("aria-pressed", String(button === chosen));
}

function offerSamples() {
  $("samples").replaceChildren(
    ...state.page.samples.map(({ file, label }, index) => {
      const name = `Test image ${index + 1}, of class ${label}`;
      const button = Object.assign(document.createElement("button"), { type: "button", title: name });
      button.append(Object.assign(document.createElement("img"), { src: file, alt: name }));
      button.addEventListener("click", async () => {
        const reply = await fetch(file).catch(() => null);
        if (!reply?.ok) return tell(`${file} cannot be loaded: copy the whole folder of the page.`);
        press(button);
        return open(await reply.blob(), name);
      });
      return button;
    }),
  );
}

function listenForFiles() {
  const take = (file) => {
    if (file) {
      press(null);
      open(file, file.name);
    }
  };
  $("file").addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = "";
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    addEventListener(kind, (event) => {
      event.preventDefault();
      document.body.classList.toggle("dropping", kind === "dragover");
      if (kind === "drop") take(event.dataTransfer.files[0]);
    });
  }
  addEventListener("paste", (event) => take(event.clipboardData.files[0]));
}

// ---------------------------------------------------------------------------------------------------------- start

async function start() {
  const started = performance.now();
  const reply = await fetch("page.json").catch(() => null);
  if (!reply?.ok) throw new Error("page.json cannot be loaded: is the server still running? Copy the whole folder.");
  state.page = await reply.json();
  document.title = `${state.page.title} – saam`;
  $("title").textContent = state.page.title;
  state.network = await loadNetwork(state.page.preprocessing.size);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const { backend, note } = state.network;
  $("backend").textContent =
    `Computed on this device by ONNX Runtime Web ${state.page.runtime}: ${backend}${note ? ` (${note})` : ""}; ` +
    `loaded in ${seconds} s.`;
  $("status").textContent = `Runs on ${backend}.`;
  shaped($("picture"), SIDE.picture);
  offerSites();
  offerSamples();
  listenForFiles();
  listenForCamera((photograph) => {
    press(null);
    return show(photograph, "Photograph");
  }, tell);
  $("sharpness").addEventListener("input", update);
  $("sharpness").addEventListener("change", speak);
  $("head").addEventListener("change", showMaps);
  $("reset").addEventListener("click", async () => {
    $("sharpness").value = "50";
    await update();
    speak();
  });
  $("main").hidden = false;
  $("samples").firstElementChild?.click();
  document.body.dataset.ready = "true";
}

if (!document.body.dataset.problem) {
  start().catch((error) => {
    $("status").hidden = true;
    tell(error.message);
  });
}
