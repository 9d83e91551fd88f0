"use strict";
// The page is whole without this; it only hides what a person does not look for.
for (const box of document.querySelectorAll(".filter")) {
  const items = [...document.querySelectorAll(box.dataset.items)];
  const texts = items.map((item) => item.textContent.toLowerCase());
  const find = box.querySelector("input[type=search]");
  const only = box.querySelector("input[type=checkbox]");
  const count = box.querySelector("output");
  const apply = () => {
    const wanted = find.value.trim().toLowerCase();
    let left = 0;
    items.forEach((item, i) => {
      item.hidden = !texts[i].includes(wanted) || (only !== null && only.checked && !("wrong" in item.dataset));
      left += item.hidden ? 0 : 1;
    });
    for (const group of document.querySelectorAll("#failures details")) {
      group.hidden = group.querySelector("tbody tr:not([hidden])") === null;
    }
    count.textContent = left + " of " + items.length;
  };
  find.addEventListener("input", apply);
  if (only !== null) only.addEventListener("change", apply);
  box.hidden = false;
  apply();
}
