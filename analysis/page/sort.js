// A click on a column's title sorts its table: highest (or A) first, then the other way round, then as it was.
const number = /^[<>≤≥+]?\s*(-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?)/;

function value(cell) {
  const text = cell.textContent.trim().replace(/−/g, "-");
  const found = number.exec(text);
  return found ? Number(found[1].replaceAll(",", "")) : text === "–" || text === "" ? null : text;
}

function compare(first, second) {
  if (typeof first === typeof second) return typeof first === "number" ? first - second : first.localeCompare(second);
  return typeof first === "number" ? -1 : 1;
}

function sortable(table) {
  const header = table.tHead?.rows;
  return header?.length === 1 && table.tBodies[0].rows.length > 1 && !table.querySelector("tbody [rowspan], tbody [colspan]");
}

for (const table of document.querySelectorAll("table")) {
  if (!sortable(table)) continue;
  const body = table.tBodies[0];
  const original = [...body.rows];
  const titles = [...table.tHead.rows[0].cells];
  titles.forEach((title, column) => {
    const button = document.createElement("button");
    button.append(...title.childNodes);
    if (!button.textContent) button.setAttribute("aria-label", "Sort by this column");
    title.append(button);
    button.addEventListener("click", () => {
      const values = new Map(original.map((row) => [row, value(row.cells[column])]));
      const first = title.classList.contains("n") ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const next = { [first]: second, [second]: null }[title.ariaSort] ?? (title.ariaSort ? null : first);
      const sign = next === "descending" ? -1 : 1;
      titles.forEach((other) => (other.ariaSort = null));
      title.ariaSort = next;
      const rows = next === null ? original : original.toSorted((above, below) => {
        const [a, b] = [values.get(above), values.get(below)];
        return a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b);
      });
      body.append(...rows);
    });
  });
}
