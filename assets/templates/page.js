"use strict";
// Tables sort by their column's button: numbers from the largest, texts from A; once more turns it round.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const body = head.closest("table").tBodies[0];
    const column = head.cellIndex;
    const value = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
    const numeric = head.classList.contains("n");
    const before = head.getAttribute("aria-sort");
    const order = before === "descending" ? "ascending" : before === "ascending" ? "descending" : numeric ? "descending" : "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const compare = (a, b) => (numeric ? a - b : a.localeCompare(b));
    const rows = [...body.rows].map((row) => [numeric ? Number(value(row)) : value(row), row]);
    rows.sort(([a], [b]) => sign * compare(a, b));
    body.append(...rows.map(([, row]) => row));
  });
}
// What a chart tells of the place under the pointer, at once and not after the delay of a <title>.
const tip = document.body.appendChild(Object.assign(document.createElement("div"), { id: "tip", hidden: true }));
for (const title of document.querySelectorAll("svg title")) {
  const target = title.parentNode;
  target.setAttribute("aria-label", title.textContent);
  target.dataset.tip = title.textContent;
  title.remove();
}
addEventListener("pointermove", (event) => {
  const target = event.target instanceof Element && event.target.closest("[data-tip]");
  tip.hidden = !target;
  if (!target) return;
  tip.textContent = target.dataset.tip;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 4))}px`;
  tip.style.top = `${event.clientY + 18 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 18}px`;
});
addEventListener("pointerleave", () => { tip.hidden = true; });
