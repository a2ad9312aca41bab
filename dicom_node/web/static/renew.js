// Keeps the page current: asks for it again and puts the new content in place when it differs.
"use strict";

const PERIOD_MS = 4000;
let shown = null;

function isBusy() {
  const selection = document.getSelection();
  const focused = document.activeElement;
  return document.hidden || (selection && !selection.isCollapsed) || (focused && focused.matches("input"));
}

async function renew() {
  if (isBusy()) return;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("main");
    if (shown === null) shown = fresh.innerHTML;
    if (fresh.innerHTML !== shown) {
      const open = [...document.querySelectorAll("details[open]")].map((element) => element.id);
      shown = fresh.innerHTML;
      document.querySelector("main").replaceWith(fresh);
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    }
    document.body.classList.remove("is-stale");
  } catch {
    document.body.classList.add("is-stale");
  }
}

setInterval(renew, PERIOD_MS);
