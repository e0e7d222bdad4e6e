// The page that is drawn: the panels of one dashboard, with the components that
// Grafana itself uses, and the data that draw.mjs has put into the page.
import React from 'react';
import { createRoot } from 'react-dom/client';
import {
  applyFieldOverrides, cacheFieldDisplayNames, createTheme, dateTime, FieldConfigOptionsRegistry, FieldType, getDisplayProcessor, getFieldDisplayName,
  identityOverrideProcessor, reduceField, standardTransformers, standardTransformersRegistry, toDataFrame, transformDataFrame,
} from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, ThemeContext, TimeSeries } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

const { dashboard, panels, annotations, from, to, timeZone, variables, mode } = window.drawn;
const theme = createTheme({ colors: { mode } });
const timeRange = { from: dateTime(from), to: dateTime(to), raw: { from: dateTime(from), to: dateTime(to) } };

// What the panels of a kind have where the dashboard says nothing.
const customDefaults = {
  timeseries: {
    drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, gradientMode: 'none', spanNulls: false, insertNulls: false,
    showPoints: 'auto', pointSize: 5, axisPlacement: 'auto', axisLabel: '', axisColorMode: 'text', axisBorderShow: false, axisCenteredZero: false,
    scaleDistribution: { type: 'linear' }, stacking: { mode: 'none', group: 'A' }, hideFrom: { tooltip: false, viz: false, legend: false },
    thresholdsStyle: { mode: 'off' }, barAlignment: 0, barWidthFactor: 0.6,
  },
  table: { align: 'auto', inspect: false, filterable: false, cellOptions: { type: 'auto' }, footer: { reducers: [] } },
};

// What the options are called. Grafana registers them in its application.
const standard = ['unit', 'min', 'max', 'decimals', 'noValue', 'color', 'thresholds', 'mappings', 'links', 'displayName'];
const option = (id, path, isCustom) => ({ id, path, isCustom, name: id, process: identityOverrideProcessor, shouldApply: () => true });
const registryOf = (type) => new FieldConfigOptionsRegistry(() => [
  ...standard.map((id) => option(id, id, false)),
  ...['axisSoftMax', 'lineStyle', 'width', 'minWidth', ...Object.keys(customDefaults[type] ?? {})].map((id) => option('custom.' + id, id, true)),
]);
standardTransformersRegistry.setInit(() =>
  [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer].map((transformation) => ({ id: transformation.id, name: transformation.name, transformation: async () => transformation, editor: () => null })));

// legendOf is a series' name, as Grafana's Prometheus data source makes it.
function legendOf(target, metric) {
  if (target.legendFormat) return target.legendFormat.replace(/{{\s*(\w+)\s*}}/g, (_, name) => metric[name] ?? '');
  const labels = Object.entries(metric).filter(([name]) => name !== '__name__').map(([name, value]) => `${name}="${value}"`);
  return labels.length ? `{${labels.join(', ')}}` : target.expr;
}

const number = (text) => (text === '+Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text));

// framesOf turns the answers of Prometheus into Grafana's form.
function framesOf(panel) {
  const tables = panel.type === 'table';
  return panel.targets.flatMap((target, i) => {
    const result = panels[panel.id][i];
    if (tables) return tableOf(target, result, panel.targets.length);
    return result.map(({ metric, value, values }) => {
      const points = values ?? [value];
      const name = legendOf(target, metric);
      return toDataFrame({
        refId: target.refId, name,
        fields: [
          { name: 'Time', type: FieldType.time, config: {}, values: points.map(([t]) => t * 1000) },
          { name: 'Value', type: FieldType.number, labels: metric, config: { displayNameFromDS: name }, values: points.map(([, v]) => number(v)) },
        ],
      });
    });
  });
}

function tableOf(target, result, targets) {
  if (result.length === 0) return [];
  const labels = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))].sort();
  return [toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: result.map(({ value }) => value[0] * 1000) },
      ...labels.map((l) => ({ name: l, type: FieldType.string, values: result.map(({ metric }) => metric[l] ?? '') })),
      { name: targets === 1 ? 'Value' : `Value #${target.refId}`, type: FieldType.number, values: result.map(({ value }) => number(value[1])) },
    ],
  })];
}

// spaced puts an empty point where a series has a gap, as Grafana does.
function spaced(frame, step) {
  const [time, value] = frame.fields;
  const times = [], values = [];
  time.values.forEach((t, i) => {
    if (i > 0 && t - time.values[i - 1] > step * 1500) { times.push(time.values[i - 1] + step * 1000); values.push(null); }
    times.push(t); values.push(value.values[i]);
  });
  return { ...frame, length: times.length, fields: [{ ...time, values: times }, { ...value, values }] };
}

function overridden(panel, frames) {
  const data = applyFieldOverrides({
    data: frames, fieldConfig: withDefaults(panel), fieldConfigRegistry: registryOf(panel.type), theme, timeZone, replaceVariables: (s) => s,
  });
  for (const field of data.flatMap((frame) => frame.fields)) delete field.state?.displayName; // of before it was renamed
  cacheFieldDisplayNames(data);
  return data;
}

function withDefaults(panel) {
  const { defaults, overrides } = panel.fieldConfig;
  return { defaults: { ...defaults, custom: { ...customDefaults[panel.type], ...defaults.custom } }, overrides };
}

function Empty({ panel, height }) {
  return <div style={{ height, display: 'flex', alignItems: 'center', justifyContent: 'center', color: theme.colors.text.secondary }}>
    {panel.fieldConfig.defaults.noValue || 'No data'}
  </div>;
}

function Tiles({ panel, frames, width, height }) {
  const fields = overridden(panel, frames).flatMap((frame) => frame.fields.filter((f) => f.type === FieldType.number).map((field) => ({ field, frame })));
  const values = fields.length ? fields : [];
  const named = panel.options.textMode === 'value_and_name';
  return <div style={{ display: 'flex' }}>
    {values.map(({ field, frame }, i) => {
      const display = field.display ?? getDisplayProcessor({ field, theme, timeZone });
      const value = { ...display(reduceField({ field, reducers: ['lastNotNull'] }).lastNotNull), title: named ? getFieldDisplayName(field, frame, frames) : undefined };
      return <BigValue key={i} value={value} width={width / values.length} height={height} theme={theme}
        colorMode={panel.options.colorMode} graphMode="none" justifyMode={panel.options.justifyMode} textMode={panel.options.textMode} />;
    })}
  </div>;
}

function Lines({ panel, frames, width, height }) {
  const data = overridden(panel, frames.map((f) => spaced(f, window.drawn.step)));
  return <TimeSeries frames={data} width={width} height={height} timeRange={timeRange} timeZone={timeZone} legend={panel.options.legend} options={panel.options}>
    {(config) => { marks(config); return null; }}
  </TimeSeries>;
}

// marks draws the annotations behind the series.
function marks(config) {
  if (config.marked) return;
  config.marked = true;
  config.addHook('draw', (u) => {
    const { ctx, bbox } = u;
    ctx.save();
    for (const { color, points } of annotations) {
      ctx.strokeStyle = ctx.fillStyle = theme.visualization.getColorByName(color);
      ctx.setLineDash([4, 4]);
      for (const t of points) {
        const x = u.valToPos(t, 'x', true);
        if (x < bbox.left || x > bbox.left + bbox.width) continue;
        ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
        ctx.beginPath(); ctx.moveTo(x - 5, bbox.top + bbox.height + 6); ctx.lineTo(x + 5, bbox.top + bbox.height + 6); ctx.lineTo(x, bbox.top + bbox.height); ctx.fill();
      }
    }
    ctx.restore();
  });
}

// Heat draws a histogram over time. Grafana's own heatmap is not in its packages.
function Heat({ panel, frames, width, height }) {
  const canvas = React.useRef(null);
  React.useEffect(() => {
    const ctx = canvas.current.getContext('2d');
    const byBound = frames.map((f) => ({ bound: number(f.fields[1].labels.le), f })).sort((a, b) => a.bound - b.bound);
    const cells = byBound.map(({ f }, i) => {
      const below = i ? new Map(byBound[i - 1].f.fields[0].values.map((t, k) => [t, byBound[i - 1].f.fields[1].values[k]])) : new Map();
      return f.fields[0].values.map((t, k) => [t, Math.max(0, f.fields[1].values[k] - (below.get(t) ?? 0))]);
    });
    const most = Math.max(...cells.flat().map(([, n]) => n), 1e-9), left = 52, row = (height - 18) / cells.length;
    ctx.font = '11px sans-serif'; ctx.fillStyle = theme.colors.text.secondary;
    byBound.forEach(({ bound }, i) => { if (i % 2 === 0) ctx.fillText(Number.isFinite(bound) ? `${bound} s` : '∞', 4, height - 18 - i * row); });
    const at = (t) => left + (t - from) / (to - from) * (width - left);
    cells.forEach((points, i) => points.forEach(([t, n]) => {
      if (n <= 1e-9) return;
      ctx.fillStyle = `rgba(255,152,48,${0.15 + 0.85 * Math.sqrt(n / most)})`;
      ctx.fillRect(at(t), height - 18 - (i + 1) * row, Math.max(2, at(t + window.drawn.step * 1000) - at(t) - 1), row - 1);
    }));
  });
  return <canvas ref={canvas} width={width} height={height} />;
}

function Rows({ panel, frames, width, height }) {
  const [data, setData] = React.useState(null);
  React.useEffect(() => {
    const s = transformDataFrame(panel.transformations ?? [], frames, { interpolate: (x) => x }).subscribe({ next: (out) => setData(overridden(panel, out)), error: (e) => console.log(`broken: ${panel.title}: ${e.stack}`) });
    return () => s.unsubscribe();
  }, []);
  return data?.length ? <TableNG data={data[0]} width={width} height={height} sortBy={panel.options.sortBy} cellHeight={panel.options.cellHeight}
    fieldConfig={panel.fieldConfig} noValue="" enableVirtualization={false} timeRange={timeRange} /> : null;
}

const kinds = { stat: Tiles, timeseries: Lines, heatmap: Heat, table: Rows };

// Whole shows a panel, or what broke it.
class Whole extends React.Component {
  state = {};
  static getDerivedStateFromError(error) { return { error }; }
  componentDidCatch(error) { console.log(`broken: ${this.props.title}: ${error.message}`); }
  render() { return this.state.error ? <pre>{String(this.state.error.stack)}</pre> : this.props.children; }
}

const columns = 24, unit = 30, gap = 8, margin = 16;

function Panel({ panel }) {
  const { x, y, w, h } = panel.gridPos;
  const columnWidth = (window.drawn.width - 2 * margin + gap) / columns;
  const box = { position: 'absolute', left: margin + x * columnWidth, top: y * (unit + gap), width: w * columnWidth - gap, height: h * (unit + gap) - gap };
  if (panel.type === 'row') return <div style={{ ...box, display: 'flex', alignItems: 'center', fontSize: 16, fontWeight: 500 }}>⌄ {panel.title}</div>;
  const frames = framesOf(panel);
  const Kind = kinds[panel.type];
  return <div style={box}>
    <PanelChrome title={panel.title} width={box.width} height={box.height}>
      {(width, height) => <Whole title={panel.title}>{frames.length ? <Kind panel={panel} frames={frames} width={width} height={height} /> : <Empty panel={panel} height={height} />}</Whole>}
    </PanelChrome>
  </div>;
}

function Page() {
  const shown = dashboard.panels;
  const height = Math.max(...shown.map(({ gridPos: { y, h } }) => y + h)) * (unit + gap);
  const chip = { border: `1px solid ${theme.colors.border.medium}`, borderRadius: 2, padding: '4px 8px', marginRight: 8 };
  return <ThemeContext.Provider value={theme}>
    <GlobalStyles />
      <div style={{ background: theme.colors.background.canvas, minHeight: '100vh', width: window.drawn.width }}>
        <div style={{ height: 40, padding: '10px 16px', fontWeight: 500, borderBottom: `1px solid ${theme.colors.border.weak}` }}>{dashboard.title}</div>
        <div style={{ height: 48, padding: '10px 16px', display: 'flex', whiteSpace: 'nowrap' }}>
          {Object.entries(variables).map(([name, { label, text }]) => <span key={name} style={chip}><b>{label}</b>&ensp;{text}</span>)}
          <span style={{ flex: 1 }} />
          {dashboard.annotations.list.map((a) => <span key={a.name} style={{ ...chip, color: theme.visualization.getColorByName(a.iconColor) }}>{a.name}</span>)}
          {dashboard.links.map((l) => <span key={l.title} style={chip}>{l.title} ↗</span>)}
          <span style={chip}>{dateTime(from).format('HH:mm:ss')} to {dateTime(to).format('HH:mm:ss')}</span>
        </div>
        <div style={{ position: 'relative', height }}>{shown.map((p) => <Panel key={p.id} panel={p} />)}</div>
      </div>
  </ThemeContext.Provider>;
}

createRoot(document.getElementById('root')).render(<Whole title={dashboard.title}><Page /></Whole>);
setTimeout(() => console.log('drawn'), 3000);
