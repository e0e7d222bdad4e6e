// The status page. The server renders it, at first in the document and then every
// second in a stream; this puts each new state in place of the last one.
"use strict";

const page = document.getElementById("page");

/* merge a new state into the page: what is the same stays, with its focus */

function merge(node, next) {
  if (node.id === "connection" || node.isEqualNode(next) || isHeld(node)) return;
  if (node.nodeName !== next.nodeName) {
    node.replaceWith(next);
  } else if (node.nodeType === Node.TEXT_NODE) {
    node.data = next.data;
  } else {
    mergeAttributes(node, next);
    mergeChildren(node, next);
  }
}

function mergeAttributes(node, next) {
  for (const { name } of [...node.attributes]) {
    if (!next.hasAttribute(name) && name !== "open") node.removeAttribute(name); // the reader opens <details>
  }
  for (const { name, value } of next.attributes) {
    if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  }
}

// mergeChildren finds those with an id by it, and the others by their place.
function mergeChildren(node, next) {
  const wanted = [...next.childNodes];
  const ids = new Set(wanted.map((child) => child.id));
  for (const child of [...node.children]) {
    if (child.id && !ids.has(child.id)) child.remove();
  }
  const known = new Map([...node.children].map((child) => [child.id, child]));
  let at = node.firstChild;
  for (const child of wanted) {
    const same = child.id ? known.get(child.id) : at;
    if (!same || same.id !== child.id) {
      node.insertBefore(child, at);
      continue;
    }
    if (same === at) at = at.nextSibling;
    else node.insertBefore(same, at);
    merge(same, child);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

// isHeld reports whether the reader marks text in a part that changes as a whole,
// such as the id of a request.
function isHeld(node) {
  const selection = getSelection();
  return node.matches?.(".details, #unrouted") && !selection.isCollapsed && node.contains(selection.anchorNode);
}

// keepOrder leaves rows where they are while the reader points at them.
function keepOrder(next) {
  const rows = document.getElementById("rows"), nextRows = next.querySelector("#rows");
  if (!rows || !nextRows || !matchMedia("(hover: hover)").matches || !rows.matches(":hover")) return;
  const place = new Map([...rows.children].map((row, i) => [row.dataset.portal, i]));
  const portals = [...nextRows.querySelectorAll(".row")];
  if (portals.some((row) => !place.has(row.dataset.portal))) return; // a new one is to be seen
  portals.sort((a, b) => place.get(a.dataset.portal) - place.get(b.dataset.portal));
  for (const row of portals) {
    const details = row.nextElementSibling?.matches(".details") ? [row.nextElementSibling] : [];
    nextRows.append(row, ...details);
  }
}

function show(html) {
  const next = new DOMParser().parseFromString(html, "text/html").getElementById("page");
  if (next.dataset.version !== page.dataset.version) location.reload();
  keepOrder(next);
  merge(page, next);
  document.title = page.dataset.title;
}

/* the stream */

const stalled = 5000; // ms without a state: the connection is lost
let heard = Date.now();
let isLost = false;
let source = null;

function connect() {
  source?.close();
  source = new EventSource("events" + location.search);
  source.onmessage = (event) => {
    heard = Date.now();
    show(event.data);
    showConnection(false);
  };
  source.onerror = () => showConnection(true);
  source.addEventListener("end", () => { source.close(); showConnection(true); });
}

function showConnection(lost) {
  isLost = lost;
  const connection = document.getElementById("connection");
  const silent = Math.round((Date.now() - heard) / 1000);
  const text = isLost ? `Connection lost since ${new Date(heard).toLocaleTimeString("en-GB")} (${silent} s); trying again` : "live";
  if (connection.textContent !== text) connection.textContent = text; // a screen reader reads each change
  connection.className = isLost ? "lost" : "live";
  document.body.classList.toggle("offline", isLost);
}

// A link to this page sorts it or opens a row. It changes that part of the query,
// the rest of which may have changed since the link came, and the stream goes on.
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="?"]');
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const query = new URLSearchParams(location.search), wanted = new URL(link.href).searchParams;
  const portal = link.closest(".row")?.dataset.portal;
  if (portal) {
    query.delete("open", portal);
    if (wanted.has("open", portal)) query.append("open", portal);
  } else {
    query.set("sort", wanted.get("sort") ?? "");
  }
  history.replaceState(null, "", "?" + query);
  connect();
});

connect();
setInterval(() => {
  if (isLost || Date.now() - heard >= stalled) showConnection(true);
  if (source.readyState === EventSource.CLOSED) connect(); // EventSource itself gives up on an error status
}, 2000);
