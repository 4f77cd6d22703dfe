// Keyboard shortcuts: / goes to the search box, j and k to the next and previous
// row. Everything works without them.
"use strict";
document.addEventListener("keydown", (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest("input, select, textarea, [contenteditable]")) return;
  if (e.key === "/") {
    const box = document.querySelector("input[type=search]");
    if (box) { e.preventDefault(); box.focus(); box.select(); }
    return;
  }
  if (e.key !== "j" && e.key !== "k") return;
  const rows = Array.from(document.querySelectorAll("main tbody tr, main ul.hits li, main .card"))
    .map((row) => row.querySelector("a[href]")).filter((a) => a && a.offsetParent !== null);
  const here = rows.findIndex((a) => a === document.activeElement);
  const next = here < 0 ? (e.key === "j" ? 0 : rows.length - 1) : here + (e.key === "j" ? 1 : -1);
  if (rows[next]) { e.preventDefault(); rows[next].focus(); rows[next].scrollIntoView({ block: "nearest" }); }
});
