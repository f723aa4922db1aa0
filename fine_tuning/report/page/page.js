"use strict";
// Copy buttons, values under the pointer, tables that scroll, and open details when printing. The page is whole without.
for (const block of document.querySelectorAll(".code")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    const code = block.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  block.append(button);
}

for (const chart of document.querySelectorAll("[data-hover]")) {
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
    const wanted = low + ((at.x - start) / (end - start)) * (high - low);
    const step = nearest(curves.flatMap((curve) => curve.points), wanted)[0];
    const x = start + ((step - low) / (high - low)) * (end - start);
    for (const [name, value] of Object.entries({ x1: x, x2: x, y1: top, y2: bottom })) {
      cursor.setAttribute(name, value);
    }
    const values = curves.map((curve) => [curve.name, ...nearest(curve.points, step)]);
    const lines = values.map(([name, at, value]) => `${name}: ${value}${at === step ? "" : ` (step ${at})`}`);
    tip.replaceChildren(...[`step ${step}`, ...lines].map((line) =>
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
  for (const table of document.querySelectorAll(".scroll")) {
    if (table.scrollWidth > table.clientWidth) { table.tabIndex = 0; } else { table.removeAttribute("tabindex"); }
  }
}
reachable();
addEventListener("resize", reachable);

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) { details.open = true; }
});
