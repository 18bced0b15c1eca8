"use strict";
// Pictures: plotly stands in the page compressed, and each figure is drawn when it comes near.
const figures = JSON.parse(document.getElementById("figures").textContent);
const plots = [...document.querySelectorAll(".plot")];

async function inflated(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).text();
}

// No button that would send a picture to plotly's servers.
const config = {
  responsive: true,
  displaylogo: false,
  showSendToCloud: false,
  plotlyServerURL: "",
  modeBarButtonsToRemove: ["select2d", "lasso2d"],
};

function draw(plot) {
  if (plot.dataset.drawn) return;
  plot.dataset.drawn = "begun";
  const { data, layout } = figures[plot.dataset.figure];
  Plotly.newPlot(plot, data, layout, config).then(() => (plot.dataset.drawn = "done"));
}

async function begin() {
  if (typeof DecompressionStream === "undefined") {
    for (const plot of plots) plot.innerHTML = "<p>This picture needs a browser of 2023 or later.</p>";
    return;
  }
  const script = document.createElement("script");
  script.textContent = await inflated("plotly");
  document.head.append(script);
  const near = new IntersectionObserver(
    (entries) => entries.filter((e) => e.isIntersecting).forEach((e) => draw(e.target)),
    { rootMargin: "400px" },
  );
  for (const plot of plots) near.observe(plot);
  window.addEventListener("beforeprint", () => plots.forEach(draw));
}

// The table of trials: a click on a heading sorts, a second one the other way; what is missing comes last.
const body = document.querySelector("#table tbody");
const heads = [...document.querySelectorAll("#table th")];

function value(row, column) {
  const cell = row.cells[column];
  return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a !== typeof b) return 0;
  return a.localeCompare(b, "en", { numeric: true });
}

function sort(column) {
  const down = heads[column].getAttribute("aria-sort") === "ascending";
  const missing = (v) => v === "" || v === "–";
  const rows = [...body.rows].map((row) => [value(row, column), row]);
  rows.sort(([a], [b]) => missing(a) - missing(b) || (down ? compare(b, a) : compare(a, b)));
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
  body.append(...rows.map(([, row]) => row));
}

heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sort(column)));
document.getElementById("filter").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of body.rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  document.getElementById("count").textContent = `${shown} of ${body.rows.length} trials`;
});
begin();
