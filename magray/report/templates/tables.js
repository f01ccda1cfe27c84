// Sort a table by a click on a column's heading, and filter it by one value of a column. Without this script it is plain.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const text = (row, column) => row.cells[column].textContent.trim();
  const number = (row, column) => Number(row.cells[column].dataset.value || NaN);

  const compare = (column, sign) => (a, b) => {
    if (!heads[column].classList.contains("number")) return sign * text(a, column).localeCompare(text(b, column));
    const x = number(a, column), y = number(b, column);
    return isNaN(x) || isNaN(y) ? isNaN(x) - isNaN(y) : sign * (x - y); // cells without a number come last in both orders
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", order);
      body.append(...[...body.rows].sort(compare(column, order === "ascending" ? 1 : -1)));
    });
  });

  const column = Number(table.dataset.filter ?? NaN);
  const values = isNaN(column) ? [] : [...new Set([...body.rows].map((row) => text(row, column)))];
  if (values.length < 2) continue;
  const select = document.createElement("select"), label = document.createElement("label");
  select.append(new Option("all", ""), ...values.map((value) => new Option(value)));
  select.addEventListener("change", () => {
    for (const row of body.rows) row.hidden = select.value !== "" && text(row, column) !== select.value;
  });
  label.append(heads[column].textContent.trim() + ": ", select);
  table.parentElement.before(label);
}
