"use strict";
(() => {
  const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en"));

  /* What a cell is sorted by: a number, a text, or undefined, which comes last in both directions. */
  const key = (row, column) => {
    const text = row.cells[column].dataset.sort;
    if (text === undefined) return undefined;
    return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  };

  const sort = (heading) => {
    const table = heading.closest("table");
    const ascending = heading.getAttribute("aria-sort") !== "ascending";
    const rows = [...table.tBodies[0].rows].map((row, place) => ({ row, place, key: key(row, heading.cellIndex) }));
    rows.sort((a, b) => {
      if (a.key === undefined || b.key === undefined) return (a.key === undefined) - (b.key === undefined) || a.place - b.place;
      return (ascending ? 1 : -1) * order(a.key, b.key) || a.place - b.place;
    });
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    table.tBodies[0].append(...rows.map(({ row }) => row));
  };
  for (const button of document.querySelectorAll("table.sortable th button")) {
    button.addEventListener("click", () => sort(button.closest("th")));
  }

  const filters = document.querySelector("form.filters");
  const filter = () => {
    const wanted = [...new FormData(filters)].filter(([, value]) => value !== "");
    const faces = [...document.querySelectorAll(".face")];
    for (const face of faces) face.hidden = wanted.some(([name, value]) => face.dataset[name] !== value);
    const shown = faces.filter((face) => !face.hidden).length;
    filters.querySelector("output").textContent = shown === faces.length ? `${shown} faces` : `${shown} of ${faces.length} faces`;
  };
  if (filters) {
    filters.addEventListener("change", filter);
    filters.addEventListener("submit", (event) => event.preventDefault());
    filters.querySelector("button").addEventListener("click", () => {
      for (const one of filters.querySelectorAll("select")) one.value = "";
      filter();
    });
    for (const link of document.querySelectorAll("a[data-show]")) {
      link.addEventListener("click", () => {
        filters.reset();
        filters.elements.expression.value = link.dataset.show;
        filter();
      });
    }
    filter();
  }

  const large = document.getElementById("large");
  for (const button of document.querySelectorAll(".enlarge")) {
    button.addEventListener("click", () => {
      large.querySelector(".scroll").replaceChildren(button.querySelector("img").cloneNode());
      large.showModal();
    });
  }
})();
