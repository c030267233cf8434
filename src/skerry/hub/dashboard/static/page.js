// Says whether what the page shows is still being updated. The updates themselves are htmx's.
"use strict";

const SILENCE_MS = 20000; // the hub sends something at least every few seconds, because ages grow

let lastHeard = Date.now();
let broken = false;

function show() {
  const stale = broken || Date.now() - lastHeard > SILENCE_MS;
  const state = document.getElementById("link-state");
  const notice = document.getElementById("stale");
  if (!state || !notice) return;
  state.dataset.state = stale ? "stale" : "live";
  state.textContent = stale ? "not updating" : "live";
  notice.hidden = !stale;
  if (stale) {
    const since = new Date(lastHeard).toLocaleTimeString();
    notice.textContent = `No connection to the hub. What you see is from ${since}; trying again.`;
  }
}

document.addEventListener("htmx:sseOpen", () => {
  // After an outage the hub may be another version, or may want a login: begin from a fresh page.
  if (broken) location.reload();
});
document.addEventListener("htmx:sseError", () => {
  broken = true;
  show();
});
document.addEventListener("htmx:sseMessage", () => {
  lastHeard = Date.now();
  show();
});
setInterval(show, 1000);
