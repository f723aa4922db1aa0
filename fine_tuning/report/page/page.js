"use strict";
// Copy buttons, values under the pointer, and open details when printing. The page is whole without.
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
  const curves = JSON.parse(chart.dataset.hover).filter((curve) => curve.style !== "faint");
  const svg = chart.querySelector(":scope > svg");
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
  cursor.setAttribute("class", "cursor");
  const tip = document.createElement("div");
  tip.className = "tip";
  const nearest = (points, x) =>
    points.reduce((best, point) => (Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best));
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const hits = curves.map((curve) => [curve.name, nearest(curve.points, at.x)]);
    const [, lead] = hits.reduce((a, b) => (Math.abs(b[1][0] - at.x) < Math.abs(a[1][0] - at.x) ? b : a));
    for (const [name, value] of [["x1", lead[0]], ["x2", lead[0]], ["y1", 14], ["y2", 234]]) {
      cursor.setAttribute(name, value);
    }
    svg.append(cursor);
    tip.replaceChildren();
    for (const line of [`step ${lead[2]}`, ...hits.map(([name, point]) => `${name}: ${point[3]}${point[2] === lead[2] ? "" : ` (step ${point[2]})`}`)]) {
      tip.append(Object.assign(document.createElement("div"), { textContent: line }));
    }
    chart.append(tip);
    const frame = chart.getBoundingClientRect();
    const left = event.clientX - frame.left + 14;
    tip.style.left = `${Math.max(0, Math.min(left, frame.width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(box.top - frame.top, event.clientY - frame.top - tip.offsetHeight - 10)}px`;
  });
  svg.addEventListener("pointerleave", () => { cursor.remove(); tip.remove(); });
}

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) { details.open = true; }
});
