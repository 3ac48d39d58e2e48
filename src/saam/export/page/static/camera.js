// The camera: a preview, and a photograph on request.

const $ = (id) => document.getElementById(id);

const PROBLEMS = {
  NotFoundError: "No camera was found: connect one, or choose a file.",
  NotAllowedError: "The camera was not allowed: allow it for this page in the browser, or choose a file.",
  NotReadableError: "The camera is used by another program: close that, or choose a file.",
};

async function start(tell) {
  tell("");
  if (!navigator.mediaDevices?.getUserMedia) {
    return tell("Browsers give the camera only to pages from https or localhost: choose a file, or serve this page so.");
  }
  try {
    $("video").srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    return tell(PROBLEMS[error.name] ?? `The camera cannot be used (${error.name}): choose a file.`);
  }
  $("shoot").disabled = true; // until there is a picture
  $("camera-view").hidden = false;
  await $("video").play();
  $("shoot").disabled = false;
  return $("shoot").focus();
}

function stop() {
  for (const track of $("video").srcObject?.getTracks() ?? []) track.stop();
  $("video").srcObject = null;
  $("camera-view").hidden = true;
  $("camera").focus();
}

/** Let the reader take photographs: take gets each of them, tell a message. */
export function listenForCamera(take, tell) {
  $("camera").addEventListener("click", () => start(tell));
  $("stop").addEventListener("click", stop);
  $("shoot").addEventListener("click", async () => {
    const photograph = await createImageBitmap($("video"));
    stop();
    await take(photograph);
  });
}
