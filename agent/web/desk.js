"use strict";
// Comfort only: every page does all it can without this file. Keys count when nothing is being typed.
const cards = [...document.querySelectorAll("article.card, article.whole")];
const PLACE = "factd-place";
let at = -1;

const go = (to) => {
  if (cards.length === 0) return;
  at = Math.max(0, Math.min(cards.length - 1, to));
  cards[at].tabIndex = -1;
  cards[at].focus({ preventScroll: true });
  cards[at].scrollIntoView({ block: "nearest" });
};
// The proposal that keys are meant for. On a list it must have been chosen first: nothing is approved that nobody looked at.
const here = () => {
  const focused = cards.findIndex((card) => card.contains(document.activeElement));
  if (focused >= 0) at = focused;
  if (at < 0 && cards[0]?.matches(".whole")) at = 0;
  return cards[at];
};
const form = (key) => {
  const card = here();
  if (card === undefined) go(0);
  return card === undefined ? null : card.querySelector(`form[data-key="${key}"]`);
};
const open = (found) => {
  if (found === null) return;
  const box = found.closest("details");
  if (box !== null) box.open = true;
  found.querySelector("input:not([type=hidden]), select").focus();
};
const send = (found) => {
  if (found !== null) found.requestSubmit();
};
const keys = {
  j: () => go(here() === undefined ? 0 : at + 1),
  k: () => go(here() === undefined ? 0 : at - 1),
  a: () => send(form("a")),
  r: () => open(form("r")),
  d: () => open(form("d")),
  e: () => here()?.querySelector("h2 a")?.click(),
  u: () => send(document.querySelector('.notice form[data-key="u"]')),
  "/": () => document.querySelector("input[type=search]")?.focus(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "Escape" && typing) {
    typing.closest("details")?.removeAttribute("open");
    typing.blur();
    return;
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat || !Object.hasOwn(keys, event.key)) return;
  event.preventDefault();
  keys[event.key]();
});

// After a decision made on the list, go on where it was made; a second press sends nothing twice.
for (const one of document.querySelectorAll('form[method="post"]')) {
  one.addEventListener("submit", (event) => {
    if (one.dataset.sent) {
      event.preventDefault();
      return;
    }
    one.dataset.sent = "1";
    const place = cards.findIndex((card) => card.contains(one));
    if (place >= 0) sessionStorage.setItem(PLACE, location.pathname + " " + place);
  });
}
// A page that comes back from the browser's memory may send again.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
const [path, place] = (sessionStorage.getItem(PLACE) || "").split(" ");
sessionStorage.removeItem(PLACE);
if (place !== undefined && path === location.pathname) go(Number(place));
document.querySelector(".keys")?.removeAttribute("hidden");
