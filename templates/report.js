"use strict";
// Sorts and filters the list of units. Everything is in the page; nothing is loaded and nothing is sent.
(() => {
  const table = document.getElementById("units");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const text = document.getElementById("search");
  const verdict = document.getElementById("verdict");
  const count = document.getElementById("shown");
  const order = new Intl.Collator("en", { numeric: true });
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

  const filter = () => {
    const wanted = text.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const fits = texts.get(row).includes(wanted) && (!verdict.value || row.dataset.verdict === verdict.value);
      row.hidden = !fits;
      shown += fits;
    }
    count.textContent = `${shown} of ${rows.length}`;
  };

  const sort = (head) => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const keys = new Map(rows.map((row) => [row, row.cells[head.cellIndex].textContent]));
    rows.sort((a, b) => (up ? 1 : -1) * order.compare(keys.get(a), keys.get(b)));
    body.append(...rows);
  };

  for (const head of table.tHead.rows[0].cells) {
    head.querySelector("button").addEventListener("click", () => sort(head));
  }
  text.form.addEventListener("submit", (event) => event.preventDefault());
  text.addEventListener("input", filter);
  verdict.addEventListener("change", filter);
  filter();
})();
