"use strict";
for (const tools of document.querySelectorAll(".tools")) tools.hidden = false;

for (const input of document.querySelectorAll("[data-filter]")) {
  const table = document.getElementById(input.dataset.filter);
  const count = document.querySelector(`[data-count="${input.dataset.filter}"]`);
  const rows = Array.from(table.tBodies[0].rows);
  let texts = null;
  input.addEventListener("input", () => {
    texts = texts || rows.map((row) => row.textContent.toLowerCase());
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, at) => {
      const keep = words.every((word) => texts[at].includes(word));
      if (row.hidden === keep) row.hidden = !keep;
      shown += keep ? 1 : 0;
    });
    count.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  });
}

function sortKey(row, at) {
  const cell = row.cells[at];
  return cell ? cell.dataset.sort ?? cell.textContent.trim() : "";
}

function compare(left, right) {
  const a = Number(left), b = Number(right);
  const bothNumbers = left !== "" && right !== "" && !Number.isNaN(a) && !Number.isNaN(b);
  return bothNumbers ? a - b : left.localeCompare(right, "en");
}

for (const table of document.querySelectorAll("table[data-searchable]")) {
  Array.from(table.tHead.rows[0].cells).forEach((head, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const keyed = Array.from(table.tBodies[0].rows, (row) => [sortKey(row, at), row]);
      keyed.sort((x, y) => (up ? compare(x[0], y[0]) : compare(y[0], x[0])));
      table.tBodies[0].append(...keyed.map((pair) => pair[1]));
    });
  });
}
