"use strict";
// The reader's language, copy buttons, values under the pointer, tables that scroll, and open
// details when printing. The page is whole without.
const page = document.getElementById("page");
const other = document.querySelector("template");

function wanted() {
  let chosen = null;
  try { chosen = localStorage.getItem("language"); } catch { /* a page in a file may not keep it */ }
  const known = [chosen, ...navigator.languages].filter(Boolean).map((tag) => tag.slice(0, 2));
  return known.find((tag) => tag === "en" || tag === "zh");
}

function swap() {
  const shown = document.createDocumentFragment();
  shown.append(...page.childNodes);
  page.append(other.content);
  other.content.append(shown);
  const [language, title] = [document.documentElement.lang, document.title];
  document.documentElement.lang = other.lang;
  document.title = other.dataset.title;
  [other.lang, other.dataset.title] = [language, title];
  dress();
}

if (other && wanted() && !document.documentElement.lang.startsWith(wanted())) { swap(); } else { dress(); }

function dress() {
  if (page.querySelector("main").dataset.dressed) { return; }
  const words = JSON.parse(page.querySelector("main").dataset.words);
  page.querySelector("main").dataset.dressed = "yes";
  if (other) { page.querySelector("header").prepend(switcher(words)); }
  for (const block of page.querySelectorAll(".code")) { block.append(copier(block, words)); }
  for (const chart of page.querySelectorAll("[data-hover]")) { follow(chart, words); }
  reachable();
}

function switcher(words) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "language";
  button.lang = other.lang;
  button.textContent = words.other;
  button.addEventListener("click", () => {
    try { localStorage.setItem("language", other.lang); } catch { /* it is asked again next time */ }
    swap();
    page.querySelector(".language").focus();
  });
  return button;
}

function copier(block, words) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = words.copy;
  button.addEventListener("click", async () => {
    const code = block.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = words.copied;
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = words.press;
    }
    setTimeout(() => { button.textContent = words.copy; }, 2000);
  });
  return button;
}

function follow(chart, words) {
  const curves = JSON.parse(chart.dataset.hover);
  const svg = chart.querySelector(":scope > svg");
  const [low, high, start, end, top, bottom] = JSON.parse(svg.dataset.scale);
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
  cursor.setAttribute("class", "cursor");
  const tip = document.createElement("div");
  tip.className = "tip";
  const nearest = (points, step) =>
    points.reduce((best, point) => (Math.abs(point[0] - step) < Math.abs(best[0] - step) ? point : best));
  svg.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const sought = low + ((at.x - start) / (end - start)) * (high - low);
    const step = nearest(curves.flatMap((curve) => curve.points), sought)[0];
    const x = start + ((step - low) / (high - low)) * (end - start);
    for (const [name, value] of Object.entries({ x1: x, x2: x, y1: top, y2: bottom })) {
      cursor.setAttribute(name, value);
    }
    const values = curves.map((curve) => [curve.name, ...nearest(curve.points, step)]);
    const lines = values.map(([name, at, value]) =>
      `${name}: ${value}${at === step ? "" : ` (${words.step} ${at})`}`);
    tip.replaceChildren(...[`${words.step} ${step}`, ...lines].map((line) =>
      Object.assign(document.createElement("div"), { textContent: line })));
    svg.append(cursor);
    chart.append(tip);
    const frame = chart.getBoundingClientRect();
    tip.style.left = `${Math.max(0, Math.min(event.clientX - frame.left + 14, frame.width - tip.offsetWidth))}px`;
    tip.style.top = `${Math.max(0, event.clientY - frame.top - tip.offsetHeight - 10)}px`;
  });
  svg.addEventListener("pointerleave", () => { cursor.remove(); tip.remove(); });
}

// What scrolls sideways can be reached, and scrolled, with the keyboard.
function reachable() {
  for (const table of page.querySelectorAll(".scroll")) {
    if (table.scrollWidth > table.clientWidth) { table.tabIndex = 0; } else { table.removeAttribute("tabindex"); }
  }
}
addEventListener("resize", reachable);

// Paper opens nothing; but a sheet after sheet of samples helps nobody.
addEventListener("beforeprint", () => {
  for (const details of page.querySelectorAll("details:not(.samples)")) { details.open = true; }
});
