// One drawing of the playground: its settings, how far it is, and its pictures as a batch, as pairs, or as a grid.
import { drawingAddress, filled, pixelsFor, shortLabel } from "studio";
import splitPicture from "studio/split_picture.js";

const MOST_THUMBNAIL = 512;

export default {
  components: { splitPicture },
  props: { drawing: Object, texts: Object },
  emits: ["open", "reuse", "remove", "cancel"],
  template: `
    <article class="p-drawing" :aria-label="prompt">
      <div class="p-drawing-head">
        <div class="r-grow">
          <div class="p-prompt" :title="prompt">{{ prompt }}</div>
          <div class="p-facts">{{ facts.join(" · ") }}</div>
        </div>
        <div class="p-actions">
          <button v-if="active" type="button" class="p-action" :aria-label="texts.cancel" :title="texts.cancel" @click="$emit('cancel')">
            <i class="q-icon material-icons" aria-hidden="true">stop</i></button>
          <button type="button" class="p-action" :aria-label="texts.reuse" :title="texts.reuse" @click="$emit('reuse')">
            <i class="q-icon material-icons" aria-hidden="true">replay</i></button>
          <button v-if="!active" type="button" class="p-action" :aria-label="texts.remove" :title="texts.remove" @click="$emit('remove')">
            <i class="q-icon material-icons" aria-hidden="true">delete_outline</i></button>
        </div>
      </div>
      <div v-if="active" class="p-progress" role="status">
        <div class="p-progress-line"><span>{{ phase }}</span><span>{{ counted }}</span></div>
        <progress :max="drawing.total || 1" :value="drawing.state === 'drawing' ? share : 0" :aria-label="texts.progress"></progress>
      </div>
      <div v-else-if="drawing.message" class="p-trouble" role="alert">{{ drawing.message }}</div>
      <div v-else-if="drawing.state === 'stopped'" class="s-note">{{ texts.stopped }}</div>
      <div v-if="drawing.layout === 'pairs'" class="p-pictures" :class="{ 'p-one': drawing.columns.length === 1 }">
        <div v-for="(seed, column) in drawing.columns" :key="column" class="p-pair">
          <split-picture v-if="has(column) && has(column + drawing.columns.length)" :first="thumbnail(column, true)"
            :second="thumbnail(column + drawing.columns.length, true)" :first-name="texts.with_lora" :second-name="texts.without_lora"
            :width="drawing.form.width" :height="drawing.form.height" :label="texts.split"></split-picture>
          <button v-else-if="has(column)" type="button" class="p-picture" :style="ratio" @click="$emit('open', column)">
            <img :src="thumbnail(column, true)" :alt="name(column)"></button>
          <div v-else class="p-empty" :style="ratio"></div>
          <div class="p-under"><span>{{ fill(texts.seed_is, { seed }) }}</span>
            <button v-if="has(column)" type="button" class="r-link p-text-button" @click="$emit('open', column)">{{ texts.enlarge }}</button></div>
        </div>
      </div>
      <div v-else-if="drawing.layout === 'batch'" class="p-pictures" :class="{ 'p-one': drawing.columns.length === 1 }">
        <template v-for="(seed, number) in drawing.columns" :key="number">
          <button v-if="has(number)" type="button" class="p-picture" :style="ratio" :aria-label="name(number)" @click="$emit('open', number)">
            <img :src="thumbnail(number, drawing.columns.length < 3)" alt="" loading="lazy" decoding="async"></button>
          <div v-else class="p-empty" :style="ratio"></div>
        </template>
      </div>
      <div v-else class="p-grid-scroll" tabindex="0" role="region" :aria-label="texts.grid_title">
        <table class="p-grid">
          <caption v-if="!drawing.row_axis">{{ axis(drawing.column_axis) }} →</caption>
          <thead><tr><th v-if="drawing.row_axis" class="p-corner">{{ axis(drawing.row_axis) }} ↓<br>{{ axis(drawing.column_axis) }} →</th>
            <th v-for="(label, column) in drawing.columns" :key="column" scope="col" :title="label">{{ shortLabel(drawing.column_axis, label, texts) }}</th></tr></thead>
          <tbody><tr v-for="(label, row) in drawing.rows" :key="row">
            <th v-if="drawing.row_axis" scope="row" :title="label">{{ shortLabel(drawing.row_axis, label, texts) }}</th>
            <td v-for="(_, column) in drawing.columns" :key="column">
              <button v-if="has(at(row, column))" type="button" class="p-picture" :style="ratio" :aria-label="name(at(row, column))"
                @click="$emit('open', at(row, column))"><img :src="thumbnail(at(row, column))" alt="" loading="lazy" decoding="async"></button>
              <div v-else class="p-empty" :style="ratio"></div>
            </td></tr></tbody>
        </table>
      </div>
    </article>`,
  computed: {
    active() { return ["waiting", "drawing"].includes(this.drawing.state); },
    prompt() { return this.drawing.form.prompt.replace(/\[trigger\]/gi, this.drawing.form.trigger_word ?? "[trigger]"); },
    ready() { return new Set(this.drawing.ready); },
    ratio() { return { aspectRatio: `${this.drawing.form.width} / ${this.drawing.form.height}` }; },
    share() {
      const step = /^(\d+)\/(\d+)/.exec(this.drawing.detail);
      return this.drawing.done + (step && this.drawing.phase === "draw" ? step[1] / step[2] / 2 : 0);
    },
    phase() {
      if (this.drawing.state === "waiting") return this.texts.waiting;
      const key = `phase_${this.drawing.phase.toLowerCase().replaceAll(" ", "_")}`;
      return this.texts[key] ?? this.drawing.phase;
    },
    counted() {
      const { unit, done, total, detail } = this.drawing;
      if (!total) return "";
      const things = unit === "MiB" ? `${(done / 1024).toFixed(1)} / ${(total / 1024).toFixed(1)} GiB` : `${done} / ${total}`;
      return detail ? `${things} · ${filled(this.texts.step_is, { step: detail.replace(" x ", " × ") })}` : things;
    },
    facts() {
      const { form, seconds, loading_seconds: loading, state, device } = this.drawing;
      const loras = form.loras.map((lora) => `${lora.run || lora.file.replace(/\.safetensors$/, "")} ${lora.weight}`);
      const guidance = form.guidance_scale > 1 ? [`CFG ${form.guidance_scale}`] : [];
      const time = state === "finished" ? [`${seconds.toFixed(1)} s${loading > 1 ? ` (${filled(this.texts.loading_is, { seconds: loading.toFixed(1) })})` : ""}`] : [];
      return [form.model, ...loras, `${form.width} × ${form.height}`, filled(this.texts.steps_are, { steps: form.steps }), ...guidance,
        filled(this.texts.seed_is, { seed: form.seed }), device, ...time, new Date(1000 * this.drawing.created).toLocaleString()];
    },
  },
  methods: {
    fill: filled,
    has(number) { return this.ready.has(number); },
    at(row, column) { return row * this.drawing.columns.length + column; },
    axis(kind) { return this.texts[`axis_${kind}`]; },
    shortLabel,
    thumbnail(number, large = false) {
      const side = large ? MOST_THUMBNAIL : Math.min(MOST_THUMBNAIL, pixelsFor(200));
      return `${drawingAddress(this.drawing.id, `pictures/${number}/thumbnail`)}?side=${side}`;
    },
    name(number) {
      const [row, column] = [Math.floor(number / this.drawing.columns.length), number % this.drawing.columns.length];
      const parts = [[this.drawing.row_axis, this.drawing.rows[row]], [this.drawing.column_axis, this.drawing.columns[column]]];
      return parts.filter(([kind]) => kind).map(([kind, label]) => `${this.axis(kind)} ${shortLabel(kind, label, this.texts)}`).join(", ");
    },
  },
};
