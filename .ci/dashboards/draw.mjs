// Draws a dashboard of deploy/grafana from the data of a Prometheus, as a picture.
//
//   node draw.mjs PROMETHEUS DASHBOARD.json PICTURE.png [NAME=VALUE]...
//
// The names are those of the dashboard's variables, and from and to (seconds since
// 1970), scrape (seconds), mode (dark or light), width, height, and scale, which
// makes the picture smaller. bundle is the folder with page.js, which bundle.mjs
// makes of page.jsx.
//
// It prints the names of the queries that return nothing, one per line. It fails if
// a query names a variable that the dashboard lacks, or if a panel is broken.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const [prometheus, file, picture, ...settings] = process.argv.slice(2);
const options = { portal: '', to: Date.now() / 1000, scrape: 15, mode: 'dark', width: 1920, height: 1080, scale: 1, ...Object.fromEntries(settings.map((s) => s.split('='))) };
for (const name of ['from', 'to', 'scrape', 'width', 'height']) options[name] = Number(options[name] ?? options.to - 3 * 3600);
const dashboard = JSON.parse(readFileSync(file));

async function get(path, query) {
  const response = await fetch(`${prometheus}/api/v1/${path}`, { method: 'POST', body: new URLSearchParams(query) });
  const { status, error, data } = await response.json();
  if (status !== 'success') throw new Error(`${query.query}: ${error}`);
  return data;
}

// Grafana asks for about a point per two pixels of a panel, and no finer than the scrapes.
const step = Math.max(options.scrape, Math.ceil((options.to - options.from) / 450));
const range = `${Math.round(options.to - options.from)}s`;

async function values(name) {
  const label = /, (\w+)\)/.exec(dashboard.templating.list.find((v) => v.name === name).query.query)[1];
  const found = await get('query', { query: `group by (${label}) (last_over_time(b24proxy_${label === 'job' ? 'build_info' : 'requests_total'}[${range}]))`, time: options.to });
  return found.result.map(({ metric }) => metric[label]).sort();
}

const variables = {};
for (const { name, label, type, includeAll, allValue } of dashboard.templating.list) {
  if (type === 'datasource') variables[name] = { label, text: 'Prometheus', value: 'prometheus' };
  else if (includeAll) variables[name] = { label, text: 'All', value: allValue ?? (await values(name)).join('|') };
  else variables[name] = { label, text: options[name], value: options[name] };
}

function interpolated(expr) {
  const own = { __rate_interval: `${Math.max(4 * options.scrape, step + options.scrape)}s`, __range_s: range.slice(0, -1), __range: range, __interval: `${step}s` };
  return expr.replace(/\$(?:{(\w+)}|(\w+))/g, (whole, a, b) => {
    const name = a ?? b;
    if (own[name]) return own[name];
    if (!variables[name]) throw new Error(`${expr}: the dashboard has no variable ${name}`);
    return variables[name].value;
  });
}

const ask = ({ expr, instant }) => instant
  ? get('query', { query: interpolated(expr), time: options.to })
  : get('query_range', { query: interpolated(expr), start: Math.floor(options.from / step) * step, end: options.to, step });

const hasNumber = ({ value, values }) => (values ?? [value]).some(([, v]) => v !== 'NaN');

const panels = {};
for (const panel of dashboard.panels) {
  panels[panel.id] = await Promise.all(panel.targets.map(async (target) => (await ask(target)).result));
  panel.targets.forEach((target, i) => {
    if (!panels[panel.id][i].some(hasNumber)) console.log(`${dashboard.uid}/${panel.title}/${target.refId}`);
  });
}

const annotations = [];
for (const { iconColor, expr, useValueForTime } of dashboard.annotations.list) {
  const { result } = await ask({ expr });
  const points = result.flatMap(({ values }) => useValueForTime ? [...new Set(values.map(([, v]) => Number(v)))] : values.slice(0, 1).map(([t]) => t * 1000));
  annotations.push({ color: iconColor, points });
}

const bundle = `file://${resolve(options.bundle)}`;
const folder = mkdtempSync(join(tmpdir(), 'b24proxy-draw-'));
try {
  const drawn = { dashboard, panels, annotations, variables, step, from: options.from * 1000, to: options.to * 1000, mode: options.mode, width: options.width, timeZone: 'utc' };
  const data = JSON.stringify(drawn).replaceAll('<', '\\u003c');
  writeFileSync(join(folder, 'page.html'), `<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="${bundle}/page.css"><body style="margin:0"><div id="root"></div>
<script>window.drawn = ${data}</script><script src="${bundle}/page.js"></script>`);
  const { stderr } = spawnSync('chromium', [
    '--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--enable-logging=stderr', '--allow-file-access-from-files',
    `--user-data-dir=${join(folder, 'profile')}`, `--window-size=${options.width},${options.height}`, `--force-device-scale-factor=${options.scale}`,
    '--virtual-time-budget=8000', '--timeout=60000', `--screenshot=${resolve(picture)}`, `file://${join(folder, 'page.html')}`,
  ], { encoding: 'utf8' });
  const broken = [...stderr.matchAll(/"(broken: [^"]*)", source/g)].map(([, said]) => said);
  if (broken.length || !stderr.includes('"drawn"')) throw new Error(`${picture}: ${broken.join('\n') || stderr}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
