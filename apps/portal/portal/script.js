// Comfort for those who have scripts: a search, and buttons that copy. The page says everything without it.
"use strict";

const cards = [...document.querySelectorAll(".card")];

function search() {
  const field = document.createElement("input");
  field.type = "search";
  field.placeholder = "Search, or press /";
  field.setAttribute("aria-label", "Search services");
  document.querySelector("main").prepend(field);

  const show = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const card of cards) {
      const text = `${card.closest(".area").querySelector("h2").textContent} ${card.textContent}`.toLowerCase();
      card.hidden = !words.every((word) => text.includes(word));
    }
    for (const area of document.querySelectorAll(".area")) {
      area.hidden = !area.querySelector(".card:not([hidden])");
    }
  };
  field.addEventListener("input", show);
  field.addEventListener("keydown", (event) => {
    const first = document.querySelector(".card:not([hidden]) h3 a");
    if (event.key === "Enter" && first) first.click();
    if (event.key === "Escape") {
      field.value = "";
      show();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== field) {
      event.preventDefault();
      field.focus();
    }
  });
}

function copying(code) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  code.after(" ", button);
}

if (cards.length > 0) search();
document.querySelectorAll("code.copy").forEach(copying);
