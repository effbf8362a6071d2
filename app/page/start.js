/** Loads the page. If a script does not arrive, it is requested again; if that fails too, the page says so. */

const WAITS_MS = [300, 1000, 3000]; // between the attempts

async function start(waits) {
  try {
    await import("./main.js");
  } catch (error) {
    if (document.documentElement.dataset.started) throw error; // all scripts are there
    const [wait, ...others] = waits;
    if (wait) {
      await new Promise((resolve) => { setTimeout(resolve, wait); });
      await start(others);
      return;
    }
    offerAgain();
  }
}

function offerAgain() {
  const banner = document.getElementById("banner");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Try again";
  button.addEventListener("click", () => location.reload());
  banner.replaceChildren("The page did not arrive as a whole. ", button);
  banner.hidden = false;
}

addEventListener("online", () => document.documentElement.dataset.started || location.reload());
start(WAITS_MS);
