// Curves of one or several runs. Figures are asked for thinned, then read on from the last update that was seen.
import { ask, axisEnds, joined, points, robustRange, runAddress } from "studio";

const POINTS = 1500;
const MOST = 4 * POINTS;
const MAIN = 300;
const EXTRA = 110;
const EXTRAS = ["drift", "learning_rate", "grad_norm", "seconds"];
const LIGHTS = { green: "#1f8a4c", yellow: "#d99a00", red: "#c8372d" };

export default {
  // runs: [{name, label}]; version changes when there is something new
  props: { runs: Array, version: [Number, String], colours: Array, texts: Object },
  template: `
    <div class="r-chart">
      <div class="r-bar">
        <label class="r-range">{{ texts.smoothing }}
          <input type="range" min="0" max="0.995" step="0.005" v-model.number="amount"></label>
        <label class="r-check"><input type="checkbox" v-model="log">{{ texts.log }}</label>
        <div class="r-segments" role="group" :aria-label="texts.more">
          <button v-if="hasValidation" type="button" :aria-pressed="validation" @click="validation = !validation">{{ texts.validation }}</button>
          <button v-for="key in offered" type="button" :aria-pressed="chosen.includes(key)" @click="turn(key)">{{ texts[key] }}</button>
        </div>
      </div>
      <div v-if="error" class="s-note" role="alert">{{ error }}</div>
      <div v-show="any" ref="chart" class="r-chart-canvas" role="img" :aria-label="summary" :style="{ height: total + 'px' }"></div>
      <div v-if="loaded && !any" class="s-empty"><div class="s-empty-title">{{ texts.none }}</div>
        <div class="s-note">{{ texts.none_text }}</div></div>
    </div>`,
  data() {
    return { amount: 0.9, log: false, validation: true, chosen: [], chose: false, error: "", loaded: false, seen: 0 };
  },
  computed: {
    any() { return this.seen >= 0 && this.curves().some((one) => one.columns.step?.length || one.validation.length); },
    hasValidation() { return this.seen >= 0 && this.curves().some((one) => one.validation.length); },
    hasDrift() { return this.seen >= 0 && this.curves().some((one) => one.drift.rows.length); },
    offered() { return EXTRAS.filter((key) => key !== "drift" || this.hasDrift); },
    total() { return MAIN + this.chosen.length * EXTRA + 8; },
    summary() {
      void this.seen;
      return this.curves().map(({ label, columns, drift }) => {
        const last = columns.loss?.at(-1);
        const told = last === undefined || last === null ? label : `${label}: ${this.texts.loss} ${last.toPrecision(4)}`;
        const bent = drift.rows.at(-1);
        return bent ? `${told}, ${this.texts.drift} ${Number(bent.score.toPrecision(3))}` : told;
      }).join("; ");
    },
  },
  watch: {
    version() { this.load(); },
    runs() { this.forget(); this.load(); },
    amount() { this.draw(); },
    log() { this.draw(); },
    validation() { this.draw(); },
    chosen() { this.$nextTick(() => { this.chart?.resize(); this.draw(); }); },
  },
  created() { this.forget(); },
  async mounted() {
    const [{ echarts }] = await Promise.all([import("nicegui-echart"), this.load()]);
    if (this.gone) return;
    this.echarts = echarts;
    await this.$nextTick();
    this.chart = echarts.init(this.$refs.chart);
    this.watcher = new ResizeObserver(() => this.chart.resize());
    this.watcher.observe(this.$refs.chart);
    this.theme = new MutationObserver(() => this.draw());
    this.theme.observe(document.body, { attributeFilter: ["class"] });
    this.draw();
  },
  beforeUnmount() {
    this.gone = true;
    this.watcher?.disconnect();
    this.theme?.disconnect();
    this.chart?.dispose();
  },
  methods: {
    // kept outside of Vue's sight: thousands of numbers need no watching
    curves() { return this.found ?? []; },
    forget() { this.found = this.runs.map(({ name, label }) => ({ name, label, columns: {}, validation: [], drift: { rows: [] }, last: -1 })); },
    turn(key) { this.chose = true; this.chosen = EXTRAS.filter((one) => this.chosen.includes(one) !== (one === key)); },
    async load() {
      if (this.loading) { this.again = true; return; }
      this.loading = true;
      try {
        await Promise.all(this.found.map((one) => this.readOn(one)));
        this.error = "";
      } catch (error) {
        this.error = error.message;
      }
      this.loading = false;
      this.loaded = true;
      this.seen += 1;
      if (!this.chose && this.hasDrift && !this.chosen.length) this.chosen = ["drift"];
      await this.$nextTick();
      this.chart?.resize();
      this.draw();
      if (this.again) { this.again = false; this.load(); }
    },
    async readOn(one) {
      const part = (since) => ask(runAddress(one.name, `metrics?points=${POINTS}&since=${since}`));
      let fresh = await part(one.last);
      const wentBack = (fresh.last_step ?? -1) < one.last;
      if (wentBack || (one.columns.step?.length ?? 0) > MOST) {
        one.columns = {};
        fresh = await part(-1);
      }
      one.columns = joined(one.columns, fresh.columns);
      one.last = fresh.last_step ?? -1;
      one.validation = (await ask(runAddress(one.name, "validation"))).rows;
      one.drift = await ask(runAddress(one.name, "drift"));
    },
    draw() {
      if (!this.chart || !this.any) return;
      const style = getComputedStyle(document.body);
      const colour = (name) => style.getPropertyValue(name).trim();
      const [soft, line, text, surface] = ["--s-soft", "--s-line", "--s-text", "--s-surface"].map(colour);
      const panels = ["loss", ...this.chosen];
      const series = this.found.flatMap((one, index) => this.seriesOf(one, this.colours[index % this.colours.length], panels));
      const tops = panels.map((_, index) => (index ? MAIN + 24 + (index - 1) * EXTRA : 16));
      this.chart.setOption({
        animation: false,
        textStyle: { color: soft, fontFamily: "inherit" },
        grid: panels.map((_, index) => ({ left: 64, right: 16, top: tops[index], height: index ? EXTRA - 42 : MAIN - 36 })),
        xAxis: panels.map((_, index) => ({
          gridIndex: index, type: "value", min: 0, max: "dataMax", axisLine: { lineStyle: { color: line } }, splitLine: { show: false },
          axisLabel: { color: soft, fontSize: 12, show: index === panels.length - 1, hideOverlap: true }, axisTick: { show: false },
        })),
        yAxis: panels.map((key, index) => ({
          gridIndex: index, ...this.scaleOf(key, series), name: index ? this.texts[key] : "", nameLocation: "end",
          nameTextStyle: { color: soft, align: "left", padding: [0, 0, 0, -56] }, nameGap: 8,
          axisLabel: { color: soft, fontSize: 12, hideOverlap: true, formatter: (value) => Number(value.toPrecision(3)).toString() },
          splitLine: { lineStyle: { color: line } }, splitNumber: index ? 2 : 5,
        })),
        axisPointer: { link: [{ xAxisIndex: "all" }], lineStyle: { color: soft } },
        tooltip: {
          trigger: "axis", confine: true, transitionDuration: 0, backgroundColor: surface, borderColor: line,
          textStyle: { color: text, fontSize: 13 }, formatter: (marks) => this.tip(marks),
        },
        dataZoom: [{ type: "inside", xAxisIndex: panels.map((_, index) => index), zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false,
          filterMode: "none" }],
        legend: { show: false },
        series,
      }, { replaceMerge: ["series", "grid", "xAxis", "yAxis"] });
    },
    seriesOf(one, colour, panels) {
      const found = [];
      panels.forEach((key, panel) => {
        const log = this.log && key !== "learning_rate";
        const base = { type: "line", symbol: "none", xAxisIndex: panel, yAxisIndex: panel, clip: true, label_: one.label, key };
        if (key === "drift") { found.push(...this.driftOf(one, colour, base)); return; }
        const raw = points(one.columns, key, { log });
        const smooth = key === "learning_rate" ? 0 : this.amount;
        if (smooth) found.push({ ...base, name: `${one.name} ${key} raw`, raw: true, data: raw, silent: true,
          lineStyle: { color: colour, width: 1, opacity: 0.22 } });
        const data = smooth ? points(one.columns, key, { amount: smooth, log }) : raw;
        found.push({ ...base, name: `${one.name} ${key}`, data, showSymbol: data.length === 1, symbol: data.length === 1 ? "circle" : "none",
          itemStyle: { color: colour }, lineStyle: { color: colour, width: 2 } });
        if (key === "loss" && this.validation && one.validation.length) {
          found.push({ ...base, name: `${one.name} validation`, key: "validation", data: one.validation.map((row) => [row.step, row.loss]),
            symbol: "circle", symbolSize: 7, itemStyle: { color: colour, borderColor: "#fff", borderWidth: 1 },
            lineStyle: { color: colour, width: 1.5, type: "dashed" } });
        }
      });
      return found;
    },
    // the score, each point in the colour of its light, over the bands of the lights
    driftOf(one, colour, base) {
      const { rows, yellow, red } = one.drift;
      if (!rows.length) return [];
      const band = (light, from, to) => [{ yAxis: from, itemStyle: { color: LIGHTS[light], opacity: 0.13 } }, { yAxis: to }];
      const first = this.found.find((other) => other.drift.rows.length) === one;
      const bands = [band("green", 0, yellow), band("yellow", yellow, red), band("red", red, Number.MAX_SAFE_INTEGER)];
      return [{ ...base, name: `${one.name} drift`, symbol: "circle", symbolSize: 7, showSymbol: true, showAllSymbol: true,
        data: rows.map(({ step, score, light }) => ({ value: [step, score], itemStyle: { color: LIGHTS[light], borderWidth: 0 } })),
        lineStyle: { color: colour, width: 1.5 }, itemStyle: { color: colour },
        markArea: first ? { silent: true, animation: false, data: bands } : undefined }];
    },
    scaleOf(key, series) {
      if (key === "drift") {
        const rows = this.found.flatMap((one) => one.drift.rows);
        const top = Math.max(...this.found.map((one) => 1.1 * (one.drift.red ?? 0)), ...rows.map((row) => 1.1 * row.score));
        const [, max, interval] = axisEnds(0, top, 3);
        return { type: "value", min: 0, max, interval };
      }
      if (this.log && key !== "learning_rate") return { type: "log", min: null, max: null, interval: null, scale: true };
      const values = series.filter((one) => one.key === key || (key === "loss" && one.key === "validation")).flatMap((one) => one.data.map((pair) => pair[1]));
      const range = robustRange(values);
      if (!range) return { type: "value", min: null, max: null, interval: null };
      const [min, max, interval] = axisEnds(...range, key === "loss" ? 5 : 2);
      return { type: "value", min, max, interval };
    },
    tip(marks) {
      const escape = (value) => { const node = document.createElement("i"); node.textContent = value; return node.innerHTML; };
      const rows = marks.filter((mark) => !mark.seriesName.endsWith(" raw")).map((mark) => {
        const one = this.found.find(({ name }) => mark.seriesName.startsWith(`${name} `));
        const key = mark.seriesName.slice(one.name.length + 1);
        const label = this.found.length > 1 ? `${one.label} · ${this.texts[key]}` : this.texts[key];
        return `<div>${mark.marker}${escape(label)} <b>${Number(mark.value[1].toPrecision(4))}</b></div>`;
      });
      return `<div><b>${escape(this.texts.step)} ${marks[0].value[0].toLocaleString()}</b></div>${rows.join("")}`;
    },
  },
};
