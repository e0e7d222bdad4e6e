// The status page. Whatever comes from outside (hosts, clients, codes, request
// ids) gets into the document as text only.
"use strict";

const $ = (id) => document.getElementById(id);

// el makes an element: attributes by name, children as nodes or text.
function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// setText changes a text only where it differs, so that nothing flickers.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setClass(node, name) {
  if (node.className !== name) node.className = name;
}

/* words and numbers */

const decimal = (v, digits = 1) => v.toLocaleString("en", { maximumFractionDigits: digits });
const clock = (t) => new Date(t).toLocaleTimeString("en-GB");
const plural = (n, one) => `${decimal(n)} ${one}${n === 1 ? "" : "s"}`;

function span(seconds) {
  if (seconds < 1) return `${decimal(Math.max(0, seconds), 1)} s`;
  const s = Math.round(seconds);
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
}

const since = (now, t) => span((Date.parse(now) - Date.parse(t)) / 1000);
const ago = (now, t) => `${since(now, t)} ago`;

const tones = {
  blocked: "bad", unreachable: "bad", failing: "bad",
  holding: "warn", slowed: "warn", queueing: "warn", ok: "good", idle: "",
};
const severity = Object.keys(tones);

/* charts: small multiples drawn as bars, a bar for each interval */

const kinds = [
  { key: "calls", title: "Calls", rate: true },
  { key: "failed", title: "Failed", rate: true },
  { key: "waiting", title: "Waiting", rate: false },
];

function chart(series, kind) {
  const values = series[kind.key].map((v) => (kind.rate ? v / series.step_seconds : v));
  const unit = kind.rate ? "/s" : "";
  const peak = Math.max(...values);
  const svgNS = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(svgNS, "svg");
  svg.setAttribute("viewBox", `0 0 ${values.length} 10`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${kind.title}: at most ${decimal(peak)}${unit} in the last five minutes`);
  values.forEach((v, i) => {
    if (v === 0) return;
    const bar = document.createElementNS(svgNS, "rect");
    const height = Math.max(0.5, (v / peak) * 10);
    for (const [k, value] of Object.entries({ x: i + 0.1, y: 10 - height, width: 0.8, height })) bar.setAttribute(k, value);
    bar.setAttribute("class", `bar-${kind.key}`);
    svg.append(bar);
  });
  return el("div", { class: "chart" },
    el("h3", {}, kind.title, el("span", {}, "peak ", el("b", {}, decimal(peak) + unit))),
    svg,
    el("div", { class: "axis" }, el("span", {}, "5 min ago"), el("span", {}, "now")));
}

const charts = (series) => kinds.map((kind) => chart(series, kind));

function meter(ratio, tone, label) {
  const bar = el("span");
  bar.style.width = `${100 * Math.min(1, ratio)}%`;
  return el("div", {
    class: `meter ${tone}`, role: "meter", "aria-label": label,
    "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(100 * Math.min(1, ratio)),
  }, bar);
}

/* the table: columns, and how they sort */

const fill = (p) => (p.bucket ? p.bucket.level / p.bucket.burst : -1);
const lastError = (p) => p.errors.last[0];

const columns = [
  { key: "name", title: "Portal", text: (p) => p.portal },
  { key: "state", title: "State", value: (p) => p.rank },
  { key: "bucket", title: "Bucket", value: fill, most: true },
  { key: "waiting", title: "Waiting", value: (p) => p.queue.waiting, most: true, number: true },
  { key: "wait", title: "Wait", value: (p) => p.queue.wait_seconds, most: true, number: true },
  { key: "calls", title: "Calls/min", value: (p) => p.last_minute.calls, most: true, number: true },
  { key: "failed", title: "Failed/min", value: (p) => p.last_minute.failed, most: true, number: true },
  { key: "error", title: "Last error", value: (p) => (lastError(p) ? Date.parse(lastError(p).at) : 0), most: true },
];

let sorted = { column: columns[1], descending: false };
let current = null; // the last status
const rows = new Map(); // by portal

function makeHead() {
  for (const column of columns) {
    const button = el("button", { type: "button" }, column.title);
    button.addEventListener("click", () => {
      const again = sorted.column === column;
      sorted = { column, descending: again ? !sorted.descending : Boolean(column.most) };
      showSort();
      if (current) arrange(current.portals);
    });
    column.head = el("th", { scope: "col", role: "columnheader", class: column.number ? "number" : "" }, button);
    $("head").append(column.head);
  }
  showSort();
}

function showSort() {
  for (const column of columns) {
    const way = sorted.descending ? "descending" : "ascending";
    column.head.setAttribute("aria-sort", column === sorted.column ? way : "none");
  }
}

function compare(a, b) {
  const { column, descending } = sorted;
  const by = column.text ? column.text(a).localeCompare(column.text(b)) : column.value(a) - column.value(b);
  return (descending ? -by : by) || a.rank - b.rank;
}

// arrange puts the rows in order, without touching those that stand right.
function arrange(portals) {
  const body = $("rows");
  let next = body.firstChild;
  for (const p of [...portals].sort(compare)) {
    const { row, details } = rows.get(p.portal);
    for (const node of [row, details]) {
      if (node === next) next = next.nextSibling;
      else body.insertBefore(node, next);
    }
  }
}

function makeRow(portal) {
  const id = `details-${rows.size}-${Date.now()}`;
  const button = el("button", { type: "button", "aria-expanded": "false", "aria-controls": id }, el("span", {}, portal));
  const badge = el("span"), why = el("span", { class: "why" });
  const level = el("span"), bar = el("div");
  const code = el("span", { class: "mono" }), when = el("span", { class: "why" });
  const cell = (name, ...children) => el("td", { role: "cell", class: name }, ...children);
  const number = (label) => el("td", { role: "cell", class: "number", "data-label": label });
  const r = {
    badge, why, level, bar, code, when,
    waiting: number("Waiting"), wait: number("Wait"), calls: number("Calls/min"), failed: number("Failed/min"),
    panel: el("td", { role: "cell", colspan: columns.length }),
  };
  r.failedCount = el("span");
  r.failed.append(r.failedCount);
  r.row = el("tr", { role: "row", class: "row", "data-portal": portal },
    cell("name", button), cell("state", badge, why), cell("bucket", level, bar),
    r.waiting, r.wait, r.calls, r.failed, cell("error", code, when));
  r.details = el("tr", { role: "row", class: "details", id }, r.panel);
  r.details.hidden = true;
  button.addEventListener("click", () => {
    r.details.hidden = !r.details.hidden;
    button.setAttribute("aria-expanded", String(!r.details.hidden));
    if (current) showDetails(r, current.portals.find((p) => p.portal === portal), current.time);
  });
  return r;
}

function showRow(r, p, now) {
  setText(r.badge, p.state);
  setClass(r.badge, `badge ${tones[p.state] ?? ""}`);
  setText(r.why, p.why);
  r.why.hidden = !p.why;
  if (p.bucket) {
    setText(r.level, `${decimal(p.bucket.level)} of ${p.bucket.burst}`);
    const bar = meter(fill(p), fill(p) > 0.9 ? "warn" : "", `Bucket of ${p.portal}`);
    r.bar.replaceWith(bar);
    r.bar = bar;
  } else {
    setText(r.level, "unlimited");
    r.bar.hidden = true;
  }
  setText(r.waiting, decimal(p.queue.waiting));
  setText(r.wait, p.queue.wait_seconds > 0 ? span(p.queue.wait_seconds) : "–");
  setText(r.calls, decimal(p.last_minute.calls));
  setText(r.failedCount, decimal(p.last_minute.failed));
  setClass(r.failedCount, p.last_minute.failed > 0 ? "nonzero" : "");
  const error = lastError(p);
  const code = error ? error.code : "–";
  if (r.code.textContent !== code) r.code.replaceChildren(...broken(code));
  setText(r.when, error ? ago(now, error.at) : "");
  showDetails(r, p, now);
}

/* what a row opens */

// broken lets a code or a method break where its words end.
const broken = (text) => text.split(/(?<=[._])/).flatMap((word, i) => (i ? [el("wbr"), word] : [word]));

function list(headings, lines, empty) {
  if (lines.length === 0) return el("p", { class: "soft" }, empty);
  const right = (h) => (h.right ? "right" : "");
  return el("table", { class: "list" },
    el("thead", {}, el("tr", {}, ...headings.map((h) => el("th", { scope: "col", class: right(h) }, h.title)))),
    el("tbody", {}, ...lines.map((cells) =>
      el("tr", {}, ...cells.map((c, i) => el("td", { class: `${right(headings[i])} ${headings[i].mono ? "mono" : ""}` }, ...(headings[i].mono ? broken(c) : [c])))))));
}

const panel = (title, ...children) => el("section", {}, el("h3", {}, title), ...children);

function widePanel(...parts) {
  const p = panel(...parts);
  p.className = "wide";
  return p;
}

function codesPanel(errors, now) {
  return panel("Errors by code",
    list([{ title: "Code", mono: true }, { title: "From" }, { title: "Count", right: true }, { title: "Last" }],
      errors.by_code.map((c) => [c.code, c.source, decimal(c.count), ago(now, c.last_at)]), "None."));
}

function lastErrorsPanel(errors) {
  return (errors.last.length ? widePanel : panel)("Last errors",
    list([{ title: "Time" }, { title: "Code", mono: true }, { title: "Method", mono: true }, { title: "Request", mono: true }],
      errors.last.map((e) => [clock(e.at), e.code, e.method || "–", e.request_id]), "None."));
}

function queuePanel(q) {
  const lines = q.by_client.map((c) => [c.client || "no credential", decimal(c.waiting)]);
  if (q.other_clients > 0) {
    const shown = q.by_client.reduce((sum, c) => sum + c.waiting, 0);
    lines.push([`${plural(q.other_clients, "other client")}`, decimal(q.waiting - shown)]);
  }
  return panel("Queue by client", list([{ title: "Client", mono: true }, { title: "Waiting", right: true }], lines, "Nobody waits."));
}

function operatingPanel(budgets, now) {
  const lines = budgets.map((b) => {
    const closed = b.closed_until && Date.parse(b.closed_until) > Date.parse(now);
    const until = closed ? `${b.blocked ? "refused by the portal" : "held"} until ${clock(b.closed_until)}`
      : b.reset_at ? `falls at ${clock(b.reset_at)}` : "open";
    const used = el("div", {}, `${decimal(b.used_seconds)} s`, b.ratio > 0 ? meter(b.ratio, closed ? "bad" : b.ratio > 0.8 ? "warn" : "", "Operating time used") : "");
    return [b.method, b.credential, used, until];
  });
  return panel("Operating time of 10 minutes", list([{ title: "Method", mono: true }, { title: "Credential", mono: true }, { title: "Used" }, { title: "" }], lines, "Nothing is known."));
}

function factsPanel(p, now) {
  const facts = [
    ["Plan", p.bucket ? `${p.plan}: ${decimal(p.bucket.plan_rate, 2)} calls/s, ${decimal(p.bucket.burst)} at once` : p.plan],
    ["Rate in force", p.bucket ? `${decimal(p.bucket.rate, 2)} calls/s` : "unlimited"],
    ["Refused by the portal", `${plural(p.last_minute.refused, "attempt")} in the last minute`],
    ["Methods' own errors", `${decimal(p.last_minute.method_errors)} in the last minute`],
    ["Longest wait", `${decimal(p.last_minute.longest_wait_seconds)} s in the last minute`],
    ["Queue", `${decimal(p.queue.waiting)} of ${decimal(p.queue.capacity)} places`],
    ["Waiting by urgency", p.queue.by_urgency.map((n, u) => (n ? `u=${u}: ${decimal(n)}` : "")).filter(Boolean).join(", ") || "–"],
    ["Overload breaker", p.breaker_open ? "open" : "closed"],
    ["Last call", ago(now, p.last_seen)],
  ];
  if (p.moved_to) facts.push(["Renamed to", p.moved_to]);
  return panel("Portal", el("dl", {}, ...facts.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])));
}

// selecting tells whether somebody marks text in a node, such as a request id.
function selecting(node) {
  const selection = getSelection();
  return selection && !selection.isCollapsed && node.contains(selection.anchorNode);
}

function showDetails(r, p, now) {
  if (!p || r.details.hidden || selecting(r.panel)) return;
  r.panel.replaceChildren(
    el("div", { class: "charts" }, ...charts(p.series)),
    el("div", { class: "panels" }, queuePanel(p.queue), codesPanel(p.errors, now), lastErrorsPanel(p.errors),
      operatingPanel(p.operating, now), factsPanel(p, now)));
}

/* the whole page */

function showVerdict(portals, known) {
  const hurt = portals.filter((p) => tones[p.state] === "bad");
  const strained = portals.filter((p) => tones[p.state] === "warn");
  const names = (some) => some.slice(0, 3).map((p) => p.portal).join(", ") + (some.length > 3 ? ` and ${some.length - 3} more` : "");
  const [text, tone] = hurt.length ? [`${plural(hurt.length, "portal")} in trouble: ${names(hurt)}`, "bad"]
    : strained.length ? [`${plural(strained.length, "portal")} under strain: ${names(strained)}`, "warn"]
      : known === 1 ? ["The portal is well", ""] : [`All ${known} portals are well`, ""];
  setText($("verdict"), text);
  setClass($("verdict"), tone);
  document.title = hurt.length ? `(${hurt.length}) b24proxy` : "b24proxy";
}

function showUnrouted(errors, now) {
  const box = $("unrouted");
  const count = errors.by_code.reduce((sum, c) => sum + c.count, 0);
  box.hidden = count === 0;
  if (count === 0 || selecting(box)) return;
  setText(box.firstElementChild, `${plural(count, "request")} named no portal or one that is not allowed, the last ${ago(now, errors.last[0].at)}`);
  box.lastElementChild.replaceChildren(el("div", { class: "panels" }, codesPanel(errors, now), lastErrorsPanel(errors)));
}

function showNotice(s) {
  const notices = [];
  if (s.proxy.draining) notices.push("The proxy is stopping: new calls are refused.");
  if (s.proxy.mode === "observe") notices.push("Mode observe: nothing waits or is refused here; failed counts what would have been refused.");
  setText($("notice"), notices.join(" "));
  $("notice").hidden = notices.length === 0;
}

function show(s) {
  s.portals.forEach((p, i) => { p.rank = severity.indexOf(p.state) * 1000 + i; });
  const store = s.store.kind === "file" ? "state kept in a file" : "state in memory";
  setText($("facts"), `${s.proxy.version} · ${s.proxy.mode} · up ${span(s.proxy.uptime_seconds)} · ${store}`);
  showNotice(s);
  showUnrouted(s.unrouted, s.time);
  const empty = s.portals.length === 0;
  setText($("example"), `curl -H 'B24-Portal: acme.bitrix24.com' http://${s.proxy.listen || "127.0.0.1:8080"}/rest/profile?auth=TOKEN`);
  $("empty").hidden = !empty;
  for (const id of ["overview", "portals", "verdict"]) $(id).hidden = empty;
  if (!empty) showVerdict(s.portals, s.portals_known);
  const overview = $("overview");
  setClass(overview, "charts");
  overview.replaceChildren(...charts(s.series));
  const names = new Set(s.portals.map((p) => p.portal));
  for (const [name, r] of rows) {
    if (names.has(name)) continue;
    r.row.remove();
    r.details.remove();
    rows.delete(name);
  }
  const fresh = s.portals.filter((p) => !rows.has(p.portal));
  for (const p of fresh) rows.set(p.portal, makeRow(p.portal));
  for (const p of s.portals) showRow(rows.get(p.portal), p, s.time);
  // Rows stay where they are while somebody points at them.
  const held = matchMedia("(hover: hover)").matches && $("rows").matches(":hover");
  if (fresh.length > 0 || !held) arrange(s.portals);
  const more = s.portals_known - s.portals.length;
  $("more").hidden = more === 0;
  setText($("more"), `${plural(more, "portal")} that do better are not shown here; the JSON has all.`);
}

/* the stream */

const stalled = 5000; // ms without a status: the connection is lost
let heard = Date.now();
let source = null;

function connect() {
  source?.close();
  source = new EventSource("events");
  source.onmessage = (event) => {
    const next = JSON.parse(event.data);
    if (current && current.proxy.version !== next.proxy.version) location.reload();
    heard = Date.now();
    current = next;
    show(next);
    showConnection();
  };
  source.addEventListener("end", () => { heard = Math.min(heard, Date.now() - stalled); source.close(); });
  source.onerror = showConnection;
}

function showConnection() {
  const lost = Date.now() - heard >= stalled || source.readyState !== EventSource.OPEN;
  const connection = $("connection");
  setClass(connection, lost ? "lost" : "live");
  setText(connection, lost ? `Connection lost since ${clock(heard)} (${span((Date.now() - heard) / 1000)}); trying again` : "live");
  document.body.classList.toggle("offline", lost);
}

makeHead();
connect();
setInterval(() => {
  if (current || source.readyState !== EventSource.CONNECTING) showConnection();
  if (source.readyState === EventSource.CLOSED) connect(); // EventSource itself gives up on an error status
}, 2000);
