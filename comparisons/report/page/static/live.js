// A page that a server on this machine shows loads again when a new version of it is there.
import { remember, remembered } from "page/state";

const SECONDS = 3;
const HERE = ["127.0.0.1", "localhost", "[::1]"];

export function startLive() {
  restore();
  if (!location.protocol.startsWith("http") || !HERE.includes(location.hostname)) return;
  let known = ownVersion();
  const timer = setInterval(async () => {
    try {
      const response = await fetch("version.json", { cache: "no-store" });
      if (!response.ok) return clearInterval(timer); // another server, which knows no versions
      const { version, ...counts } = await response.json();
      known ??= version;
      showProgress(counts);
      if (version !== known && !document.querySelector("dialog[open]")) reload();
    } catch {
      // The server has ended or is busy; the page stays as it is and asks again.
    }
  }, 1000 * SECONDS);
}

// The version that the server named as it gave the page; null where a browser does not tell.
function ownVersion() {
  const timings = performance.getEntriesByType("navigation")[0]?.serverTiming ?? [];
  return timings.find((timing) => timing.name === "version")?.description ?? null;
}

function showProgress({ finished, failed, running, left }) {
  tell(`Now: ${finished} runs finished, ${failed} failed, ${running} in training, ${left} left.`);
}

function tell(text) {
  const line = document.getElementById("progress");
  line.hidden = !text;
  line.textContent = text;
}

function reload() {
  const open = [...document.querySelectorAll("details[open][id]")].map((details) => details.id);
  const progress = document.getElementById("progress").textContent;
  remember("reload", { top: scrollY, open, progress });
  location.reload();
}

function restore() {
  const before = remembered("reload", null);
  if (!before) return;
  remember("reload", null);
  for (const id of before.open) {
    const details = document.getElementById(id);
    if (details) details.open = true;
  }
  tell(before.progress); // it takes a line of the page, without which all below would move
  history.scrollRestoration = "manual";
  scrollTo(0, before.top);
}
