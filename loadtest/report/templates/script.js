"use strict";
(() => {
  const root = document.documentElement, toggle = document.querySelector(".theme"), tip = document.getElementById("tip");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const remember = (word) => { try { localStorage.setItem("theme", word); } catch { /* a file may have no storage */ } };
  const remembered = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const name = () => { toggle.textContent = isDark() ? "Light colours" : "Dark colours"; };
  const kept = remembered();
  if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  toggle.hidden = false;
  toggle.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; remember(root.dataset.theme); name(); });
  dark.addEventListener("change", name);
  name();

  document.addEventListener("pointermove", (event) => {
    const told = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
    tip.hidden = !told;
    if (!told) return;
    tip.textContent = told.dataset.tip;
    const x = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(x, 8)}px`;
    const below = event.clientY + 18;
    tip.style.top = `${below + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 12 : below}px`;
  });
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

  const valueOf = (row, place) => {
    const cell = row.cells[place], data = cell.querySelector("data");
    return data ? Number(data.value) : cell.classList.contains("n") ? null : cell.textContent;
  };
  const compare = (a, b) => (a === null || b === null ? (a === null) - (b === null) : a < b ? -1 : a > b ? 1 : 0);
  for (const table of document.querySelectorAll("table[data-table]")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, place), row]);
        rows.sort((a, b) => (a[0] === null || b[0] === null || up ? 1 : -1) * compare(a[0], b[0]));
        table.tBodies[0].append(...rows.map((pair) => pair[1]));
      });
    });
  }
})();
