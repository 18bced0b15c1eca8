// Elements and charts of the page of a server, drawn as SVG: the policy of the page forbids what libraries of charts need.
"use strict";

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made && name !== "list" && typeof value !== "string") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function number(value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "number" ? String(Number(value.toPrecision(5))) : String(value);
}

const SVG = "http://www.w3.org/2000/svg";

function drawn(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function chart(caption, label, lines, points) {
  const [width, height, left, bottom, top] = [480, 260, 62, 30, 10];
  const all = [...lines.flatMap((line) => line.points), ...points].filter((p) => p.y !== null && isFinite(p.y));
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  if (all.length) {
    const xs = all.map((p) => p.x), ys = all.map((p) => p.y).sort((a, b) => a - b);
    const [x0, x1] = [Math.min(...xs), Math.max(...xs, Math.min(...xs) + 1)];
    const high = ys[Math.floor(0.97 * (ys.length - 1))]; // a few large values would flatten the rest
    const y0 = ys[0], y1 = high > y0 ? high : y0 + 1;
    const place = (p) => [left + ((p.x - x0) / (x1 - x0)) * (width - left - 10),
      height - bottom - (Math.min(Math.max((p.y - y0) / (y1 - y0), 0), 1)) * (height - bottom - top)];
    for (const part of [0, 0.5, 1]) {
      const y = height - bottom - part * (height - bottom - top);
      svg.append(drawn("line", { x1: left, x2: width - 10, y1: y, y2: y, class: "axis" }));
      svg.append(drawn("text", { x: left - 6, y: y + 4, "text-anchor": "end" }, number(y0 + part * (y1 - y0))));
      const x = left + part * (width - left - 10);
      svg.append(drawn("text", { x, y: height - 10, "text-anchor": "middle" }, number(x0 + part * (x1 - x0))));
    }
    for (const line of lines) {
      const path = line.points.filter((p) => p.y !== null && isFinite(p.y)).map((p) => place(p).map((v) => v.toFixed(1)).join(","));
      svg.append(drawn("polyline", { points: path.join(" "), class: line.pale ? "pale" : "line" }));
    }
    for (const point of points.filter((p) => p.y !== null && isFinite(p.y))) {
      const [cx, cy] = place(point);
      const dot = drawn("circle", { cx, cy, r: 3, class: point.kind });
      dot.append(drawn("title", {}, point.title));
      svg.append(dot);
    }
  }
  return element("figure", {}, svg, element("figcaption", {}, caption));
}

// The values of trials on parallel axes, one for each parameter and one for the metric; a line for each trial.
function parallel(caption, label, axes, metric, lines) {
  const columns = [...axes, { name: metric, scale: "linear", choices: null, ofTrial: true }];
  const valueOf = (axis, line) => (axis.ofTrial ? line.value : line.params[axis.name]) ?? null;
  const scaled = (axis, v) => {
    if (axis.choices) { const place = axis.choices.findIndex((c) => String(c) === String(v)); return place < 0 ? null : place; }
    if (typeof v !== "number" || !isFinite(v)) return null;
    return axis.scale === "log" ? (v > 0 ? Math.log(v) : null) : axis.scale === "one_minus_log" ? (v < 1 ? -Math.log(1 - v) : null) : v;
  };
  const [gap, height, top, bottom, side] = [120, 280, 42, 24, 50];
  const width = Math.max(960, gap * (columns.length - 1) + 2 * side);
  const step = (width - 2 * side) / Math.max(columns.length - 1, 1);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "parallel" });
  svg.setAttribute("width", width);
  const ranges = columns.map((axis) => {
    const known = lines.map((line) => [scaled(axis, valueOf(axis, line)), valueOf(axis, line)]).filter(([s]) => s !== null).sort((a, b) => a[0] - b[0]);
    if (axis.choices) return { low: 0, high: Math.max(axis.choices.length - 1, 1), first: axis.choices[0], last: axis.choices[axis.choices.length - 1] };
    if (!known.length) return { low: 0, high: 1, first: null, last: null };
    const last = axis.ofTrial ? known[Math.floor(0.9 * (known.length - 1))] : known[known.length - 1]; // large values would flatten the rest
    return { low: known[0][0], high: Math.max(last[0], known[0][0] + 1e-12), first: known[0][1], last: last[1] };
  });
  const place = (column, s) => {
    const { low, high } = ranges[column];
    return height - bottom - Math.min(Math.max((s - low) / (high - low), 0), 1) * (height - top - bottom);
  };
  for (const line of lines) {
    let path = "", open = false;
    columns.forEach((axis, column) => {
      const s = scaled(axis, valueOf(axis, line));
      if (s !== null) path += `${open ? "L" : "M"}${(side + column * step).toFixed(1)},${place(column, s).toFixed(1)}`;
      open = s !== null; // a parameter that is not active leaves a gap
    });
    const drawnLine = drawn("path", { d: path || "M0,0", class: line.kind, "stroke-opacity": line.opacity ?? 1 });
    drawnLine.append(drawn("title", {}, line.title));
    svg.append(drawnLine);
  }
  columns.forEach((axis, column) => {
    const x = side + column * step;
    svg.append(drawn("line", { x1: x, x2: x, y1: top, y2: height - bottom, class: "axis" }));
    const name = axis.name.length > 18 ? `${axis.name.slice(0, 17)}…` : axis.name;
    const head = drawn("text", { x, y: 14, "text-anchor": "middle", class: "name" }, name);
    head.append(drawn("title", {}, axis.name));
    svg.append(head, drawn("text", { x, y: 32, "text-anchor": "middle" }, number(ranges[column].last)),
      drawn("text", { x, y: height - 8, "text-anchor": "middle" }, number(ranges[column].first)));
  });
  return element("figure", { class: "broad" }, element("div", { class: "wide", tabindex: "0", role: "group", "aria-label": label }, svg), element("figcaption", {}, caption));
}

// The complete trials as lines, the best last and so on top; paler the worse.
function ranked(trials, minimize) {
  const complete = trials.filter((t) => t.state === "complete" && t.value !== null).sort((a, b) => (minimize ? b.value - a.value : a.value - b.value));
  return complete.slice(-300).map((t, place, all) => ({ params: t.params, value: t.value, title: `${t.label}: ${number(t.value)}`,
    kind: place === all.length - 1 ? "best" : "other", opacity: place === all.length - 1 ? 1 : 0.15 + 0.6 * (place / all.length) ** 3 }));
}
