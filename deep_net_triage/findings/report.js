"use strict";
// A click on a header sorts its table; another click reverses the order. Gaps stay last. Without
// this script the table keeps the order of the network's blocks.
const words = new Intl.Collator("en", { numeric: true });

function order(a, b) {
  if (a.dataset.value !== undefined && b.dataset.value !== undefined) {
    return Number(a.dataset.value) - Number(b.dataset.value);
  }
  return words.compare(a.textContent, b.textContent);
}

function sort(table, header) {
  const direction = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  const body = table.tBodies[table.tBodies.length - 1];
  const rows = Array.from(body.rows, (row) => [row, row.cells[header.cellIndex]]);
  rows.sort(([, a], [, b]) => {
    const gaps = a.classList.contains("gap") - b.classList.contains("gap");
    return gaps || direction * order(a, b);
  });
  body.append(...rows.map(([row]) => row));
  for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const header of table.tHead.rows[table.tHead.rows.length - 1].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(table, header));
    header.append(button);
  }
}
