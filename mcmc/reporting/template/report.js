"use strict";
(() => {
  const STEP = 100;
  const get = (id) => document.getElementById(id);

  // Light or dark: the system's choice until the reader makes one.
  const root = document.documentElement, theme = get("theme");
  const kept = (value) => {
    try {
      if (value) localStorage.setItem("mcmc-theme", value);
      return localStorage.getItem("mcmc-theme");
    } catch {
      return null; // a page from a file may have no storage
    }
  };
  const chosen = kept();
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    kept(root.dataset.theme);
  });

  // The table of all parameters: sorted, searched, and shown some rows at a time.
  const section = get("parameters"), table = section.querySelector("table"), body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...body.rows].map((row, at) => ({ row, at, name: row.cells[0].textContent.trim().toLowerCase() }));
  const search = get("search"), failing = get("failing"), more = get("more");
  let order = rows, shown = STEP;

  const draw = () => {
    const wanted = search.value.trim().toLowerCase();
    const found = order.filter((r) => r.name.includes(wanted) && (!failing.checked || r.row.className === "fails"));
    body.replaceChildren(...found.slice(0, shown).map((r) => r.row));
    more.hidden = found.length <= shown;
    const first = Math.min(shown, found.length).toLocaleString("en");
    get("count").textContent = `${first} of ${found.length.toLocaleString("en")} shown`;
  };
  const number = (text) => {
    const plain = text.trim().replaceAll(",", "").replace("∞", "Infinity");
    return plain === "–" ? NaN : Number(plain);
  };
  const compare = (column, sign) => {
    const isText = column === 0 || heads[column].className === "text";
    for (const r of rows) {
      const text = r.row.cells[column].textContent.trim();
      r.key = isText ? text : number(text);
    }
    const natural = new Intl.Collator("en", { numeric: true }).compare;
    return (a, b) => {
      if (isText) return sign * natural(a.key, b.key) || a.at - b.at;
      const blank = Number.isNaN(a.key) - Number.isNaN(b.key); // dashes last, either way
      if (blank || Number.isNaN(a.key)) return blank || a.at - b.at;
      return sign * (a.key === b.key ? 0 : a.key < b.key ? -1 : 1) || a.at - b.at;
    };
  };
  heads.forEach((head, column) => {
    head.setAttribute("aria-sort", "none");
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      order = [...rows].sort(compare(column, up ? 1 : -1));
      shown = STEP;
      draw();
    });
  });
  const again = () => { shown = STEP; draw(); };
  search.addEventListener("input", again);
  failing.addEventListener("change", again);
  more.addEventListener("click", () => { shown += STEP; draw(); });
  failing.parentElement.hidden = !rows.some((r) => r.row.className === "fails");
  section.querySelector(".controls").hidden = false;
  draw();
})();
