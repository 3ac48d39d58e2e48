// The network in ONNX Runtime: on WebGPU where there is one, else on WebAssembly. A session gets one provider at a time,
// because with a list ONNX Runtime falls back without a word.

const RUNTIMES = {
  webgpu: { file: "./ort/ort.webgpu.min.mjs", label: () => "WebGPU" },
  wasm: {
    file: "./ort/ort.wasm.min.mjs",
    label: (ort) => `WebAssembly, ${ort.env.wasm.numThreads} thread${ort.env.wasm.numThreads > 1 ? "s" : ""}`,
  },
};
const MOST_THREADS = 4;

/** Load the network. Returns {backend, note, run}; throws an Error with a message for the reader. */
export async function loadNetwork(size) {
  const bytes = await fetchBytes("model.onnx");
  let note = await missingGpu();
  if (!note) {
    try {
      return { ...(await start("webgpu", bytes, size)), note };
    } catch (error) {
      note = `WebGPU failed (${firstLine(error)})`;
    }
  }
  try {
    return { ...(await start("wasm", bytes, size)), note };
  } catch (error) {
    throw new Error(`The network cannot be started: ${firstLine(error)}. Load the page again, or create it again.`);
  }
}

async function start(provider, bytes, size) {
  const { file, label } = RUNTIMES[provider];
  const ort = await import(file);
  ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
  ort.env.wasm.numThreads = crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1) : 1;
  ort.env.logLevel = "error";
  const session = await ort.InferenceSession.create(bytes, { executionProviders: [provider] });

  /** Return {name: {data, dims}} for an input (3, H, W). */
  async function run(input, sharpness) {
    const feeds = { image: new ort.Tensor("float32", input, [1, 3, ...size]) };
    if (session.inputNames.includes("sharpness")) {
      feeds.sharpness = new ort.Tensor("float32", [sharpness], []);
    }
    return session.run(feeds);
  }

  await run(new Float32Array(3 * size[0] * size[1]), 1); // errors of a provider show in the first run
  return { backend: label(ort), run };
}

async function fetchBytes(file) {
  let reply;
  try {
    reply = await fetch(file);
  } catch {
    throw new Error(`${file} cannot be loaded: the server does not answer. Is it still running?`);
  }
  if (!reply.ok) {
    throw new Error(`${file} cannot be loaded: the server answers ${reply.status}. Copy the whole folder of the page.`);
  }
  return new Uint8Array(await reply.arrayBuffer());
}

/** Return why WebGPU cannot be used; empty if it can. */
async function missingGpu() {
  if (!navigator.gpu) {
    return "this browser has no WebGPU here";
  }
  return (await navigator.gpu.requestAdapter().catch(() => null)) ? "" : "no graphics processor for WebGPU";
}

function firstLine(error) {
  return String(error?.message ?? error).split("\n")[0].slice(0, 200);
}
