// The page of a study that runs reloads itself, until the study has ended or nothing newer has been
// written for a long time. The browser keeps the place; the order of the sorted table is kept here.
const PERIOD = 10; // seconds
const state = document.getElementById("state");

function remember() {
  const header = document.querySelector("table.sortable th[aria-sort]");
  const sorted = header && [header.textContent, header.getAttribute("aria-sort")];
  history.replaceState({ sorted }, "");
}

// The column's title, because a trial may add columns before it.
function restore([title, direction]) {
  const table = document.querySelector("table.sortable");
  const headers = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const header = headers.find((cell) => cell.textContent === title);
  while (header && header.getAttribute("aria-sort") !== direction) sort(table, header);
}

const timer = setInterval(() => {
  const silent = Date.now() / 1000 - Number(state.dataset.written);
  if (silent > Number(state.dataset.patience)) {
    clearInterval(timer);
    state.querySelector(".silent").hidden = false;
  } else if (document.getSelection().isCollapsed) {
    remember();
    location.reload();
  }
}, 1000 * PERIOD);

if (history.state?.sorted) restore(history.state.sorted);
