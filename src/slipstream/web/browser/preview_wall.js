// Previews of a run, checkpoints by prompts, as a grid or one checkpoint at a time.
import { SIZES, ask, filled, pixelsFor, runAddress, thumbnailAddress } from "studio";
import cellGrid from "studio/cell_grid.js";
import viewer from "studio/picture_viewer.js";

export default {
  components: { cellGrid, viewer },
  props: { run: String, version: [Number, String], running: Boolean, texts: Object, viewerTexts: Object },
  template: `
    <div class="r-wall">
      <div v-if="error" class="s-note" role="alert">{{ error }}</div>
      <template v-if="grid && steps.length">
        <div class="r-bar">
          <div class="r-segments" role="group" :aria-label="texts.view">
            <button v-for="name in ['grid', 'steps']" type="button" :aria-pressed="mode === name"
              @click="mode = name">{{ texts['mode_' + name] }}</button>
          </div>
          <div v-if="mode === 'grid'" class="r-segments" role="group" :aria-label="texts.size">
            <button v-for="name in Object.keys(sizes)" type="button" :aria-pressed="size === name"
              @click="size = name">{{ texts['size_' + name] }}</button>
          </div>
          <span class="s-note">{{ fill(texts.count, { pictures: grid.num_pictures, checkpoints: steps.length }) }}</span>
        </div>
        <cell-grid v-if="mode === 'grid'" :rows="steps.length" :columns="grid.prompts.length" :size="sizes[size]" :cell="cell"
          :row-label="(row) => steps[row].toLocaleString()" :row-key="(row) => steps[row]" :title="texts.title" :version="grid.version"
          :side="side" @open="open">
          <template #head="{ column }"><span :title="grid.prompts[column].text">
            <span v-if="grid.prompts[column].has_trigger !== null" class="r-dot" :class="{ 'r-dot-on': grid.prompts[column].has_trigger }"
              :title="grid.prompts[column].has_trigger ? texts.trigger : texts.no_trigger"></span>{{ promptText(column) }}
            <em v-if="grid.prompts[column].note">{{ grid.prompts[column].note }}</em></span></template>
        </cell-grid>
        <div v-else class="r-turn">
          <label class="r-range">{{ fill(texts.checkpoint, { step: steps[turn].toLocaleString() }) }}
            <input type="range" min="0" :max="steps.length - 1" :value="steps.length - 1 - turn"
              @input="turn = steps.length - 1 - Number($event.target.value)">
          </label>
          <div class="r-turn-grid">
            <button v-for="(prompt, column) in grid.prompts" :key="column" type="button" class="r-turn-one"
              :disabled="!exists(turn, column)" @click="open(turn, column)">
              <img v-if="exists(turn, column)" :alt="name(turn, column)" loading="lazy" :src="thumbnail(turn, column, 512)">
              <span v-else class="r-turn-none">–</span>
              <span class="r-turn-text">{{ promptText(column) }}</span>
            </button>
          </div>
        </div>
      </template>
      <div v-else-if="grid" class="s-empty"><div class="s-empty-title">{{ texts.none }}</div>
        <div class="s-note">{{ running ? texts.none_running : texts.none_ended }}</div></div>
      <viewer ref="viewer" :texts="viewerTexts"></viewer>
    </div>`,
  data() {
    return { grid: null, error: "", mode: "grid", size: "medium", sizes: SIZES, turn: 0, missing: new Set(), side: window.innerWidth < 600 ? 56 : 84 };
  },
  computed: {
    // the newest first
    steps() { return this.grid ? [...this.grid.steps].reverse() : []; },
  },
  watch: { version() { this.load(); } },
  mounted() { return this.load(); },
  methods: {
    fill: filled,
    async load() {
      try {
        const grid = await ask(runAddress(this.run, "previews"));
        this.error = "";
        // pictures that are there stay as they are: their addresses keep the version of the first look
        this.firstVersion ??= grid.version;
        this.missing = new Set(grid.missing.map(([step, prompt]) => `${step}/${prompt}`));
        this.grid = grid;
        this.turn = Math.min(this.turn, Math.max(0, grid.steps.length - 1));
      } catch (error) {
        this.error = error.message;
      }
    },
    exists(row, column) { return !this.missing.has(`${this.steps[row]}/${column}`); },
    cell(row, column) {
      if (!this.exists(row, column)) return null;
      return { key: `${this.steps[row]}/${column}`, src: this.thumbnail(row, column, pixelsFor(SIZES[this.size])), name: this.name(row, column) };
    },
    thumbnail(row, column, side) { return thumbnailAddress(this.run, this.steps[row], column, side, this.firstVersion); },
    promptText(column) { return this.grid.prompts[column].text || filled(this.texts.prompt, { number: column + 1 }); },
    name(row, column) { return filled(this.texts.picture, { step: this.steps[row], prompt: this.promptText(column) }); },
    open(row, column) {
      const source = { run: this.run, label: this.run, steps: this.grid.steps, prompts: this.grid.prompts, missing: this.missing,
        version: this.firstVersion };
      this.$refs.viewer.show([source], { source: 0, row: this.steps.length - 1 - row, column });
    },
  },
};
