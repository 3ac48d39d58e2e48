// From a file to the input of the network, as saam.models.Preprocessing computes it: resized with antialiasing to cover
// the size, cropped centrally, rounded, normalised.

const LARGEST_SIDE = 4096; // pixels; larger photographs are reduced when they are drawn

/** Decode a file or blob. Throws an Error with a message for the reader. */
export async function decode(blob, name) {
  if (!blob.type.startsWith("image/")) {
    throw new Error(`“${name}” is not an image: choose a PNG, JPEG, WebP, GIF or AVIF file.`);
  }
  try {
    return await createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    throw new Error(`“${name}” cannot be decoded: it is damaged, or of a kind that this browser does not know.`);
  }
}

/** Return the RGBA pixels of a picture, on white where it is transparent. */
export function pixelsOf(picture) {
  const scale = Math.min(1, LARGEST_SIDE / Math.max(picture.width, picture.height));
  const width = Math.max(1, Math.round(picture.width * scale));
  const height = Math.max(1, Math.round(picture.height * scale));
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/** Return the part of a picture that the network sees: the centre, with the shape of its input. */
export function cropOf(picture, [height, width]) {
  const scale = Math.max(height / picture.height, width / picture.width);
  const [w, h] = [width / scale, height / scale];
  return { x: (picture.width - w) / 2, y: (picture.height - h) / 2, width: w, height: h };
}

/** Return the input (3, H, W) of the network for RGBA pixels, a Float32Array. */
export function toInput(pixels, { size: [height, width], mean, std }) {
  const scale = Math.max(height / pixels.height, width / pixels.width);
  const covering = [Math.max(height, even(pixels.height * scale)), Math.max(width, even(pixels.width * scale))];
  const same = pixels.height === height && pixels.width === width;
  const rows = same ? null : taps(pixels.height, covering[0]);
  const columns = same ? null : taps(pixels.width, covering[1]);
  const top = Math.floor((covering[0] - height) / 2);
  const left = Math.floor((covering[1] - width) / 2);
  const input = new Float32Array(3 * height * width);
  for (let colour = 0; colour < 3; colour++) {
    const narrow = same ? null : across(pixels, colour, columns, left, width);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const value = same
          ? pixels.data[4 * (y * width + x) + colour]
          : Math.min(255, Math.max(0, even(down(narrow, width, rows[y + top], x))));
        input[(colour * height + y) * width + x] = (value - 255 * mean[colour]) / (255 * std[colour]);
      }
    }
  }
  return input;
}

/** Round to the nearest whole number, halves to even, as Python and PyTorch do. */
function even(value) {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

/** Return for each output position the first input position and the weights of an antialiased linear filter. */
function taps(from, to) {
  const scale = from / to;
  const support = Math.max(scale, 1);
  return Array.from({ length: to }, (_, index) => {
    const centre = scale * (index + 0.5);
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(from, Math.trunc(centre + support + 0.5));
    const weights = [];
    for (let at = first; at < last; at++) {
      weights.push(Math.max(0, 1 - Math.abs((at - centre + 0.5) / support)));
    }
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

/** Resize one colour along the rows, for the columns from left to left + width. */
function across(pixels, colour, columns, left, width) {
  const narrow = new Float32Array(pixels.height * width);
  for (let y = 0; y < pixels.height; y++) {
    for (let x = 0; x < width; x++) {
      const { first, weights } = columns[x + left];
      let sum = 0;
      for (let tap = 0; tap < weights.length; tap++) {
        sum += weights[tap] * pixels.data[4 * (y * pixels.width + first + tap) + colour];
      }
      narrow[y * width + x] = sum;
    }
  }
  return narrow;
}

/** Return the resized value of one column. */
function down(narrow, width, { first, weights }, x) {
  let sum = 0;
  for (let tap = 0; tap < weights.length; tap++) {
    sum += weights[tap] * narrow[(first + tap) * width + x];
  }
  return sum;
}
