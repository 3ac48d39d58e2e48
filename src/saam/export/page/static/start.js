// Runs before the modules, which browsers refuse to load from a file: address.
"use strict";

const problem =
  location.protocol === "file:"
    ? "This page was opened as a file, from which browsers load neither scripts nor the network. Serve its folder: run " +
      "“python -m http.server” in it and open http://localhost:8000."
    : typeof WebAssembly !== "object"
      ? "This browser has no WebAssembly, which the network needs: allow it in the settings, or use another browser."
      : "";
if (problem) {
  document.body.dataset.problem = "true";
  document.getElementById("status").hidden = true;
  document.getElementById("message").textContent = problem;
  document.getElementById("message").hidden = false;
}
