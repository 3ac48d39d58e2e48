// Score maps over an image, in the colours of saam.explain.overlay.

const COLOURS = [
  [0, 0, 4], [11, 7, 36], [33, 12, 74], [60, 9, 101], [87, 16, 110], [111, 25, 110], [137, 34, 106], [161, 43, 98],
  [187, 55, 84], [209, 70, 68], [229, 92, 48], [243, 118, 27], [251, 154, 6], [251, 185, 31], [247, 217, 72],
  [242, 242, 125], [252, 255, 164],
];
const NEAR_MEAN = 1.05; // largest weight, relative to the mean, of a map that is not drawn
const FLATTEST = 2; // the smallest ceiling: a nearly uniform map gets the middle colour at most
const [FAINTEST, STRONGEST] = [0.45, 0.9]; // opacity of a map where a pixel has no weight, and the largest

/** Return the weights of one head, or the mean over the heads (head -1), relative to the mean: {values, height, width}. */
export function relativeMap({ data, dims }, head) {
  const [, heads, height, width] = dims;
  const pixels = height * width;
  const chosen = head < 0 ? [...Array(heads).keys()] : [head];
  const values = new Float32Array(pixels);
  for (const one of chosen) {
    for (let pixel = 0; pixel < pixels; pixel++) {
      values[pixel] += (data[one * pixels + pixel] * pixels) / chosen.length;
    }
  }
  return { values, height, width, largest: values.reduce((most, value) => Math.max(most, value), 0) };
}

/** Return whether a map gives all pixels nearly the same weight. */
export function isMean(map) {
  return map.largest < NEAR_MEAN;
}

/** Draw the part of a picture that the network sees, in grey if a map is drawn over it. */
export function drawPicture(canvas, picture, crop, map) {
  const context = canvas.getContext("2d");
  const shown = map && !isMean(map);
  context.imageSmoothingEnabled = crop.width > canvas.width / 6; // show the pixels of tiny images
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, crop.x, crop.y, crop.width, crop.height, 0, 0, canvas.width, canvas.height);
  if (shown) {
    context.globalCompositeOperation = "saturation"; // with a grey, which makes the picture grey
    context.fillStyle = "grey";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.globalCompositeOperation = "source-over";
    context.imageSmoothingEnabled = true;
    context.drawImage(coloured(map), 0, 0, canvas.width, canvas.height);
  }
}

function coloured({ values, height, width, largest }) {
  const ceiling = Math.max(FLATTEST, largest);
  const image = new ImageData(width, height);
  values.forEach((value, pixel) => {
    const share = Math.min(1, value / ceiling);
    image.data.set([...colour(share), 255 * (FAINTEST + share * (STRONGEST - FAINTEST))], 4 * pixel);
  });
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function colour(share) {
  const place = share * (COLOURS.length - 1);
  const below = Math.min(COLOURS.length - 2, Math.floor(place));
  return COLOURS[below].map((value, channel) => value + (place - below) * (COLOURS[below + 1][channel] - value));
}
