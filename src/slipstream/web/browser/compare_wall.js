// Previews of several runs beside each other, aligned by prompt and step: one prompt over all checkpoints, or all
// prompts at one step. A column is a run, or a run at one checkpoint: {run, label, step}, `step` null or pinned.
import { SIZES, alignedPrompts, alignedSteps, ask, filled, nearest, pixelsFor, runAddress, thumbnailAddress } from "studio";
import cellGrid from "studio/cell_grid.js";
import viewer from "studio/picture_viewer.js";

export default {
  components: { cellGrid, viewer },
  props: { items: Array, version: [Number, String], texts: Object, viewerTexts: Object },
  template: `
    <div class="r-wall">
      <div v-if="error" class="s-note" role="alert">{{ error }}</div>
      <template v-if="grids && prompts.length && steps.length">
        <div class="r-bar">
          <div v-if="!pinned" class="r-segments" role="group" :aria-label="texts.align">
            <button v-for="name in ['step', 'prompt']" type="button" :aria-pressed="mode === name" @click="mode = name">{{ texts['by_' + name] }}</button>
          </div>
          <div class="r-segments" role="group" :aria-label="texts.size">
            <button v-for="name in Object.keys(sizes)" type="button" :aria-pressed="size === name" @click="size = name">{{ texts['size_' + name] }}</button>
          </div>
          <label v-if="mode === 'prompt'" class="r-choice">{{ texts.prompt }}
            <select v-model.number="prompt"><option v-for="(one, index) in prompts" :value="index">{{ one.text }}</option></select></label>
          <label v-else-if="!pinned" class="r-range r-grow">{{ fill(texts.step, { step: steps[turn].toLocaleString() }) }}
            <input type="range" min="0" :max="steps.length - 1" v-model.number="turn"></label>
        </div>
        <cell-grid :rows="mode === 'prompt' ? steps.length : prompts.length" :columns="items.length" :size="sizes[size]" :cell="cell"
          :row-label="rowLabel" :row-key="(row) => mode + row" :title="texts.title" :version="seen + mode + prompt + '/' + turn + size"
          :side="mode === 'prompt' ? 84 : side" @open="open">
          <template #head="{ column }"><span><span class="r-swatch" :style="{ background: items[column].colour }"></span>{{ items[column].label }}
            <em v-if="mode === 'step'">{{ stepText(column) }}</em></span></template>
        </cell-grid>
      </template>
      <div v-else-if="grids" class="s-empty"><div class="s-empty-title">{{ texts.none }}</div><div class="s-note">{{ texts.none_text }}</div></div>
      <viewer ref="viewer" :texts="viewerTexts"></viewer>
    </div>`,
  data() {
    return { grids: null, error: "", mode: "step", size: "medium", sizes: SIZES, prompt: 0, turn: 0, seen: 0, side: window.innerWidth < 600 ? 96 : 190 };
  },
  computed: {
    pinned() { return this.items.every((one) => one.step !== null); },
    prompts() { return alignedPrompts(this.grids.map((grid) => grid.prompts.map((one) => one.text))); },
    steps() { return alignedSteps(this.grids.map((grid) => grid.steps)); },
  },
  watch: { version() { this.load(); } },
  async mounted() {
    await this.load();
    this.turn = Math.max(0, this.steps.length - 1);
  },
  methods: {
    fill: filled,
    async load() {
      try {
        const grids = await Promise.all(this.items.map((one) => ask(runAddress(one.run, "previews"))));
        this.grids = grids.map((grid) => ({ ...grid, gone: new Set(grid.missing.map(([step, prompt]) => `${step}/${prompt}`)) }));
        this.error = "";
        this.seen += 1;
      } catch (error) {
        this.error = error.message;
      }
    },
    // the newest first
    stepOfRow(row) { return this.steps[this.steps.length - 1 - row]; },
    stepOf(row, column) {
      const pinned = this.items[column].step;
      if (pinned !== null) return pinned;
      return this.mode === "prompt" ? this.stepOfRow(row) : nearest(this.grids[column].steps, this.steps[this.turn]);
    },
    stepText(column) {
      const step = this.stepOf(0, column);
      return step === null ? "" : filled(this.texts.step, { step: step.toLocaleString() });
    },
    rowLabel(row) { return this.mode === "prompt" ? this.stepOfRow(row).toLocaleString() : this.prompts[row].text; },
    placeOf(row, column) {
      const grid = this.grids[column];
      const step = this.stepOf(row, column);
      const prompt = this.prompts[this.mode === "prompt" ? this.prompt : row].indexes[column];
      const shown = this.mode !== "prompt" || this.items[column].step === null || this.stepOfRow(row) === step;
      return prompt === null || !shown || !grid.steps.includes(step) || grid.gone.has(`${step}/${prompt}`) ? null : { step, prompt };
    },
    cell(row, column) {
      const place = this.placeOf(row, column);
      if (!place) return null;
      const { run, label } = this.items[column];
      return {
        key: `${column}/${place.step}/${place.prompt}`,
        src: thumbnailAddress(run, place.step, place.prompt, pixelsFor(SIZES[this.size]), this.grids[column].version),
        name: filled(this.texts.picture, { run: label, step: place.step, prompt: this.grids[column].prompts[place.prompt].text }),
      };
    },
    open(row, column) {
      const sources = this.items.map(({ run, label }, index) => ({ run, label, steps: this.grids[index].steps, prompts: this.grids[index].prompts,
        missing: this.grids[index].gone, version: this.grids[index].version }));
      const at = (one) => {
        const place = this.placeOf(row, one);
        return place && { source: one, row: this.grids[one].steps.indexOf(place.step), column: place.prompt };
      };
      const other = this.items.map((_, index) => index).filter((index) => index !== column).map(at).find(Boolean);
      this.$refs.viewer.show(sources, at(column), other);
    },
  },
};
