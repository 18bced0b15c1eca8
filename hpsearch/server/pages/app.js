// The page of a server: studies, one study live, submit, compare, predict. Texts of studies are set as text, never as HTML.
"use strict";

const main = document.getElementById("main");
const message = document.getElementById("message");
let stream = null;
let timer = null;

// Requests.

function show(...children) { main.replaceChildren(...children); }

function tell(text) {
  message.textContent = text;
  message.hidden = !text;
}

async function request(method, path, body, type) {
  const options = { method, headers: {}, credentials: "same-origin" };
  if (body !== undefined) {
    options.body = type ? body : JSON.stringify(body);
    options.headers["Content-Type"] = type || "application/json";
  }
  const answer = await fetch(`/api/v1${path}`, options);
  const isJson = (answer.headers.get("Content-Type") || "").startsWith("application/json");
  const content = answer.status === 204 ? null : isJson ? await answer.json() : await answer.text();
  if (!answer.ok) {
    const error = new Error(typeof content?.detail === "string" ? content.detail : `The server answered ${answer.status}.`);
    error.status = answer.status;
    error.mistakes = content?.mistakes || [];
    throw error;
  }
  return content;
}

function time(seconds) { return seconds ? new Date(seconds * 1000).toLocaleString() : "–"; }

// Pages.

async function listPage(archived) {
  const { studies } = await request("GET", `/studies?archived=${Boolean(archived)}`);
  const chosen = new Set();
  const compare = element("button", { disabled: true, onclick: () => { location.hash = `#/compare/${[...chosen].join(",")}`; } }, "Compare");
  const cells = new Map(studies.map((s) => [s.id, element("td", { class: `state ${s.state}` }, s.state)]));
  const rows = studies.reverse().map((s) => {
    const box = element("input", { type: "checkbox", "aria-label": `Compare ${s.name}`, onchange: (event) => {
      event.target.checked ? chosen.add(s.id) : chosen.delete(s.id);
      compare.disabled = chosen.size < 2;
    } });
    return element("tr", {},
      element("td", {}, box),
      element("td", {}, element("a", { href: `#/study/${s.id}` }, s.name)),
      cells.get(s.id),
      element("td", {}, s.owner),
      element("td", {}, time(s.created)),
      element("td", { class: "mistake" }, s.error || ""));
  });
  const head = ["Compare", "Study", "State", "Token", "Submitted", "Error"].map((t) => element("th", { scope: "col" }, t));
  show(element("h2", {}, archived ? "Archived studies" : "Studies"),
    rows.length
      ? element("div", { class: "wide" }, element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)))
      : archived ? element("p", {}, "No study is archived.") : element("p", {}, "There is no study yet. ", element("a", { href: "#/submit" }, "Submit one.")),
    element("div", { class: "row" }, archived ? null : compare,
      archived ? element("a", { href: "#/" }, "Studies that are not archived") : element("a", { href: "#/archived" }, "Archived studies")));
  for (const s of studies.filter((s) => s.state === "running").slice(0, 20)) {
    request("GET", `/studies/${s.id}`).then((now) => {
      const cell = cells.get(s.id), planned = now.planned || 1;
      if (now.planned) cell.append(" ", element("progress", { max: planned, value: now.finished, "aria-label": `Progress of ${s.name}` }), ` ${now.finished} of ${now.planned}`);
    }).catch(() => {});
  }
  if (studies.some((s) => ["queued", "running"].includes(s.state)) && !chosen.size) timer = setTimeout(() => chosen.size || route(), 3000);
}

async function studyPage(id) {
  const state = element("div"), charts = element("div", { class: "charts" }), extra = element("div");
  const title = element("h2", {}, "Study"), products = element("div", { class: "row" });
  const log = element("pre", { tabindex: "0", role: "region", "aria-label": "Log" }), known = new Map();
  let axes = [], metric = "value", minimize = true, pending = false;
  show(title, state, products, charts, extra, element("h3", {}, "Log"), log);

  const act = (verb) => async () => {
    try { await request("POST", `/studies/${id}/${verb}`); tell(""); setTimeout(route, 600); } catch (error) { tell(error.message); }
  };
  function drawState(study) {
    title.textContent = study.name;
    metric = study.metric || metric;
    minimize = study.direction !== "maximize";
    axes = study.axes;
    const active = ["queued", "running"].includes(study.state);
    const stages = study.stages.map((s) => element("tr", {},
      element("th", { scope: "row" }, s.name),
      element("td", {}, element("progress", { max: s.planned || 1, value: s.complete + s.pruned + s.diverged + s.failed, "aria-label": `Progress of ${s.name}` })),
      element("td", {}, `${s.complete + s.pruned + s.diverged + s.failed} of ${number(s.planned)}`),
      element("td", { class: "soft" }, `${s.pruned} pruned, ${s.failed} failed`)));
    state.replaceChildren(
      element("p", {}, element("span", { class: `state ${study.state}` }, study.state), study.error ? `: ${study.error}` : "", study.archived ? " (archived)" : ""),
      element("div", { class: "row" },
        ...(study.archived ? [element("button", { onclick: act("restore") }, "Restore")]
          : active ? [element("button", { onclick: act("cancel"), disabled: study.cancelling }, study.cancelling ? "Being cancelled …" : "Cancel")]
            : [element("button", { onclick: act("resume") }, "Resume"), element("button", { onclick: act("archive") }, "Archive")])),
      element("div", { class: "wide" }, element("table", {}, element("tbody", {}, ...stages))),
      study.best ? element("p", {}, element("strong", {}, `Best: ${study.best.label}, ${metric} ${number(study.best.value)}`),
        ` (${Object.entries(study.best.params).map(([k, v]) => `${k} ${number(v)}`).join(", ")})`) : "");
    const link = (path, text, download) => element("a", { href: `/api/v1/studies/${id}/${path}`, ...(download ? { download: "" } : { target: "_blank", rel: "noopener" }) }, text);
    products.replaceChildren(...(study.best && !study.archived ? [link("report", "Report"), link("model.zip", "Model (ZIP)", true), link("model.onnx", "Model (ONNX)", true),
      link("trials?format=csv", "Trials (CSV)", true), element("a", { href: `#/predict/${id}` }, "Predict")] : []));
  }
  function drawCharts() {
    pending = false;
    const trials = [...known.values()];
    let best = null;
    const steps = trials.map((t, x) => {
      const better = t.state === "complete" && t.value !== null && (best === null || (minimize ? t.value < best : t.value > best));
      if (better) best = t.value;
      return { x: x + 1, y: best };
    });
    const points = trials.map((t, x) => ({ x: x + 1, y: t.value, kind: t.state, title: `${t.label}: ${number(t.value)} (${t.state})` }));
    const leader = trials.filter((t) => t.state === "complete").sort((a, b) => (minimize ? a.value - b.value : b.value - a.value))[0];
    const curve = (t) => t.curve.map((y, x) => ({ x: (x + 1) * t.step, y }));
    const pale = trials.slice(-40).map((t) => ({ points: curve(t), pale: true }));
    charts.replaceChildren(
      chart(`${metric} of each trial, and the best so far`, `History: ${trials.length} trials`, [{ points: steps }], points),
      chart("Learning curves on the validation rows; the best trial in color", "Learning curves", [...pale, ...(leader ? [{ points: curve(leader) }] : [])], []),
      ...(axes.length ? [parallel(`The parameters of complete trials and their ${metric}; the best trial in color`, "Parallel coordinates", axes, metric, ranked(trials, minimize))] : []));
  }
  async function readLog() { log.textContent = await request("GET", `/studies/${id}/log`) || "Nothing yet."; }

  drawState(await request("GET", `/studies/${id}`));
  readLog().catch(() => {});
  stream = new EventSource(`/api/v1/studies/${id}/events`);
  stream.addEventListener("trial", (event) => {
    const trial = JSON.parse(event.data);
    known.set(trial.label, trial); // a stream that is opened again may repeat some
    if (!pending) { pending = true; setTimeout(drawCharts, 250); }
  });
  stream.addEventListener("state", (event) => drawState(JSON.parse(event.data)));
  stream.addEventListener("done", (event) => { stream.close(); drawState(JSON.parse(event.data)); readLog().catch(() => {}); });
  const refresh = async () => {
    const study = await request("GET", `/studies/${id}`);
    drawState(study);
    if (["queued", "running"].includes(study.state)) timer = setTimeout(() => refresh().catch((e) => tell(e.message)), 1500);
  };
  timer = setTimeout(() => refresh().catch((e) => tell(e.message)), 1500);
}

async function digestOf(file) {
  const hash = await crypto.subtle.digest("SHA-256", await file.arrayBuffer());
  return [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function submitPage() {
  const files = {};
  const listed = element("ul"), mistakes = element("ul", { "aria-live": "polite" });
  const text = element("textarea", { id: "study", spellcheck: false, "aria-label": "Study file" });
  const target = element("input", { id: "target" });
  const picker = element("input", { type: "file", id: "file", onchange: (event) => take([...event.target.files]) });
  const drop = element("div", { class: "drop",
    ondragover: (event) => { event.preventDefault(); drop.classList.add("over"); },
    ondragleave: () => drop.classList.remove("over"),
    ondrop: (event) => { event.preventDefault(); drop.classList.remove("over"); take([...event.dataTransfer.files]); } },
    element("label", { for: "file" }, "Drop a table here (CSV or Parquet), or choose one"), picker);
  const busy = element("p", { "aria-live": "polite" });

  let table = null;
  async function take(taken) {
    for (const file of taken) {
      try {
        tell("");
        busy.textContent = `Uploading ${file.name} …`;
        const digest = await digestOf(file);
        await request("PUT", `/data/${digest}`, file, "application/octet-stream");
        if (!(file.name in files)) listed.append(element("li", {}, file.name));
        files[file.name] = digest;
        table = table || file.name;
        write.disabled = false;
        busy.textContent = "";
        if (!text.value.trim()) await writeStudy();
      } catch (error) { busy.textContent = ""; tell(error.message); }
    }
  }
  async function writeStudy() {
    try {
      busy.className = "";
      busy.textContent = `Reading ${table} …`;
      const made = await request("POST", "/init", { name: table, digest: files[table], target: target.value.trim() || null });
      text.value = made.study;
      busy.textContent = "The study file is ready to start. Every choice in it may be edited.";
    } catch (error) { busy.className = "mistake"; busy.textContent = error.message; }
  }
  const write = element("button", { disabled: true, onclick: writeStudy }, "Write the study file again");
  function mark(error) {
    mistakes.replaceChildren(...error.mistakes.map((m) => {
      const line = Number(m.where.split(":")[1]) || null;
      const words = [line ? `Line ${line}: ` : "", m.path ? `${m.path}: ` : "", m.message].join("");
      const jump = () => {
        const lines = text.value.split("\n"), start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
        text.focus();
        text.setSelectionRange(start, start + lines[line - 1].length);
      };
      return element("li", { class: "mistake" }, line ? element("button", { onclick: jump }, words) : words);
    }));
    if (!error.mistakes.length) tell(error.message);
  }
  async function start() {
    try {
      tell("");
      mistakes.replaceChildren();
      const made = await request("POST", "/studies", { study: text.value, files });
      location.hash = `#/study/${made.id}`;
    } catch (error) { mark(error); }
  }
  show(element("h2", {}, "Submit a study"), drop, listed, busy,
    element("label", { for: "target" }, "Column to predict: its name, or its position from 0"),
    element("div", { class: "row" }, target, write), element("label", { for: "study" }, "Study file"), text, mistakes,
    element("div", { class: "row" }, element("button", { class: "main", onclick: start }, "Start")));
}

async function comparePage(ids) {
  const { studies } = await request("GET", `/compare?studies=${encodeURIComponent(ids)}`);
  const names = [...new Set(studies.flatMap((s) => Object.keys(s.best?.params || {})))];
  const row = (name, value) => element("tr", {}, element("th", { scope: "row" }, name), ...studies.map((s) => element("td", { class: "number" }, number(value(s)))));
  const every = await Promise.all(studies.map((s) => (s.archived ? { trials: [] } : request("GET", `/studies/${s.id}/trials`))));
  const axes = [...new Map(studies.flatMap((s) => s.axes).map((axis) => [axis.name, axis])).values()];
  const lines = studies.flatMap((s, place) => ranked(every[place].trials, s.direction !== "maximize").slice(-100)
    .map((line) => ({ ...line, kind: `study-${place % 6}`, opacity: line.kind === "best" ? 1 : 0.35, title: `${s.name} ${line.title}` })));
  const legend = studies.map((s, place) => element("li", {}, element("span", { class: `swatch study-${place % 6}` }), ` ${s.name} (${s.id})`));
  show(element("h2", {}, "Compare studies"), element("ul", { class: "legend" }, ...legend),
    axes.length ? parallel("The best 100 complete trials of each study", "Parallel coordinates of the studies", axes, [...new Set(studies.map((s) => s.metric))].join(", "), lines) : "",
    element("div", { class: "wide" }, element("table", {},
    element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Property"), ...studies.map((s) => element("th", { scope: "col", class: "number" }, element("a", { href: `#/study/${s.id}` }, s.name))))),
    element("tbody", {}, row("state", (s) => s.state), row("metric", (s) => s.metric), row("best value", (s) => s.best?.value),
      row("trials", (s) => s.finished), ...[...new Set(studies.flatMap((s) => Object.keys(s.best?.metrics || {})))].map((m) => row(m, (s) => s.best?.metrics[m])),
      ...names.map((name) => row(name, (s) => s.best?.params[name]))))));
}

async function predictPage(id) {
  const { columns, example } = await request("GET", `/studies/${id}/columns`);
  const output = element("div", { "aria-live": "polite" });
  const fields = columns.map((column, place) => {
    const known = column.categories ? { list: `values-${place}` } : { inputmode: "decimal" };
    const field = element("input", { id: `column-${place}`, ...known, value: String(example?.[0]?.[place] ?? "") });
    const values = column.categories ? element("datalist", { id: `values-${place}` }, ...column.categories.slice(0, 200).map((value) => element("option", { value }))) : null;
    return { column, field, block: element("div", {}, element("label", { for: `column-${place}` }, column.name), field, values) };
  });
  async function predict() {
    try {
      tell("");
      const row = {};
      for (const { column, field } of fields) {
        const text = field.value.trim();
        row[column.name] = text === "" ? null : column.categories || isNaN(text) ? text : Number(text);
      }
      const { predictions } = await request("POST", `/studies/${id}/predict`, [row]);
      const entries = Object.entries(predictions[0]);
      output.replaceChildren(element("h3", {}, "Prediction"), element("table", {}, element("tbody", {},
        ...entries.map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, number(value)))))));
    } catch (error) { tell(error.message); }
  }
  async function predictFile(event) {
    try {
      tell("");
      const made = await request("POST", `/studies/${id}/predict`, await event.target.files[0].text(), "text/csv");
      const url = URL.createObjectURL(new Blob([made], { type: "text/csv" }));
      output.replaceChildren(element("p", {}, `${made.trim().split("\n").length - 1} predictions: `, element("a", { href: url, download: "predictions.csv" }, "predictions.csv")));
    } catch (error) { tell(error.message); }
  }
  show(element("h2", {}, "Predict"), element("div", { class: "fields" }, ...fields.map((f) => f.block)),
    element("div", { class: "row" }, element("button", { class: "main", onclick: predict }, "Predict")), output,
    element("label", { for: "rows" }, "Or a CSV file with these columns"), element("input", { type: "file", id: "rows", onchange: predictFile }));
}

function tokenPage() {
  const field = element("input", { id: "token", type: "password", autocomplete: "off" });
  const enter = async (event) => {
    event.preventDefault();
    if (await login(field.value.trim())) route(); else tell("The token is not known.");
  };
  show(element("h2", {}, "Token"), element("form", { onsubmit: enter }, element("label", { for: "token" }, "The server prints a link with a token when it starts. Enter the token:"), field,
    element("div", { class: "row" }, element("button", { class: "main" }, "Enter"))));
}

async function login(token) {
  const answer = await fetch("/api/v1/session", { method: "POST", headers: { Authorization: `Bearer ${token}` } });
  return answer.ok;
}

// Routes.

async function route() {
  if (stream) stream.close();
  clearTimeout(timer);
  stream = null;
  tell("");
  const [, page, argument] = location.hash.split("/");
  try {
    if (page === "study") await studyPage(argument);
    else if (page === "submit") await submitPage();
    else if (page === "compare") await comparePage(argument);
    else if (page === "predict") await predictPage(argument);
    else await listPage(page === "archived");
  } catch (error) {
    if (error.status === 401) tokenPage(); else { show(element("h2", {}, "Error")); tell(error.message); }
  }
}

async function begin() {
  if (location.hash.startsWith("#token=")) {
    await login(location.hash.slice("#token=".length));
    history.replaceState(null, "", "/#/");
  }
  window.addEventListener("hashchange", () => { route().then(() => main.focus()); });
  await route();
}

begin();
