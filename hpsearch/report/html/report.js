"use strict";
// Charts: plotly.js is compressed in the page; a chart is drawn when it scrolls near the viewport.
const figures = JSON.parse(document.getElementById("figures").textContent);
const plots = [...document.querySelectorAll(".plot")];

async function decompressed(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).text();
}

// Without the button that uploads a chart to plotly's server.
const config = {
  responsive: true,
  displaylogo: false,
  showSendToCloud: false,
  plotlyServerURL: "",
  modeBarButtonsToRemove: ["select2d", "lasso2d"],
};

function draw(plot) {
  if (plot.dataset.drawn) return;
  plot.dataset.drawn = "started";
  const { data, layout } = figures[plot.dataset.figure];
  Plotly.newPlot(plot, data, layout, config).then(() => (plot.dataset.drawn = "done"));
}

async function start() {
  if (typeof DecompressionStream === "undefined") {
    for (const plot of plots) plot.innerHTML = "<p>This chart requires a browser released in 2023 or later.</p>";
    return;
  }
  const script = document.createElement("script");
  script.textContent = await decompressed("plotly");
  document.head.append(script);
  const observer = new IntersectionObserver(
    (entries) => entries.filter((e) => e.isIntersecting).forEach((e) => draw(e.target)),
    { rootMargin: "400px" },
  );
  for (const plot of plots) observer.observe(plot);
  window.addEventListener("beforeprint", () => plots.forEach(draw));
}

// Table of trials: clicking a heading sorts by it, clicking again reverses the order. Missing values come last.
const body = document.querySelector("#table tbody");
const headings = [...document.querySelectorAll("#table th")];

function cellValue(row, column) {
  const cell = row.cells[column];
  return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a !== typeof b) return 0;
  return a.localeCompare(b, "en", { numeric: true });
}

function sort(column) {
  const descending = headings[column].getAttribute("aria-sort") === "ascending";
  const missing = (v) => v === "" || v === "–";
  const rows = [...body.rows].map((row) => [cellValue(row, column), row]);
  rows.sort(([a], [b]) => missing(a) - missing(b) || (descending ? compare(b, a) : compare(a, b)));
  headings.forEach((heading) => heading.removeAttribute("aria-sort"));
  headings[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
  body.append(...rows.map(([, row]) => row));
}

headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => sort(column)));
document.getElementById("filter").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
  let visible = 0;
  for (const row of body.rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    visible += !row.hidden;
  }
  document.getElementById("count").textContent = `${visible} of ${body.rows.length} trials`;
});
start();
