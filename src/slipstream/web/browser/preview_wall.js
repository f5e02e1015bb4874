// Previews of a run, checkpoints by prompts: only what is in view is in the page, however many there are.
import { ask, counted, filled, inView, neighbour, offsetFor, runAddress, thumbnailAddress } from "studio";
import viewer from "studio/picture_viewer.js";

const SIZES = { small: 104, medium: 168, large: 264 };
const HEAD = 66;
const SIDE = 84;
const SETTLED_MS = 90;

export default {
  components: { viewer },
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
              @click="resize(name)">{{ texts['size_' + name] }}</button>
          </div>
          <span class="s-note">{{ fill(texts.count, { pictures: grid.num_pictures, checkpoints: steps.length }) }}</span>
        </div>
        <div v-show="mode === 'grid'" ref="scroll" class="r-wall-scroll" role="grid" :aria-label="texts.title"
          :aria-rowcount="steps.length + 1" :aria-colcount="grid.prompts.length" @scroll.passive="onScroll"
          @keydown="onKey" :style="{ height: wallHeight }">
          <div class="r-wall-space" :style="{ width: side + grid.prompts.length * cell + 'px', height: head + steps.length * cell + 'px' }">
            <div class="r-wall-head" role="row" :style="{ height: head + 'px' }">
              <div v-for="column in columns" :key="column" class="r-wall-prompt" role="columnheader"
                :style="{ left: side + column * cell + 'px', width: cell + 'px' }" :title="grid.prompts[column].text">
                <span v-if="grid.prompts[column].has_trigger !== null" class="r-dot"
                  :class="{ 'r-dot-on': grid.prompts[column].has_trigger }"
                  :title="grid.prompts[column].has_trigger ? texts.trigger : texts.no_trigger"></span>{{ promptText(column) }}
                <em v-if="grid.prompts[column].note">{{ grid.prompts[column].note }}</em>
              </div>
            </div>
            <div v-for="row in rows" :key="steps[row]" class="r-wall-row" role="row"
              :style="{ top: head + row * cell + 'px', height: cell + 'px' }">
              <div class="r-wall-step" role="rowheader" :style="{ width: side + 'px' }">{{ steps[row].toLocaleString() }}</div>
              <template v-for="column in columns" :key="column">
                <button v-if="exists(row, column)" type="button" class="r-cell" role="gridcell"
                  :style="{ left: side + column * cell + 'px', width: cell + 'px', height: cell + 'px' }"
                  :tabindex="row === active[0] && column === active[1] ? 0 : -1" :data-cell="row + '/' + column"
                  :aria-label="name(row, column)" @click="open(row, column)" @focus="active = [row, column]">
                  <img v-if="wanted.has(steps[row] + '/' + column)" alt="" decoding="async" :src="thumbnail(row, column)">
                </button>
                <div v-else class="r-cell r-cell-none" role="gridcell"
                  :style="{ left: side + column * cell + 'px', width: cell + 'px', height: cell + 'px' }"><span>–</span></div>
              </template>
            </div>
          </div>
        </div>
        <div v-if="mode === 'steps'" class="r-turn">
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
    return {
      grid: null, error: "", mode: "grid", size: "medium", sizes: SIZES, head: HEAD, side: SIDE, top: 0, left: 0,
      height: 600, width: 800, wanted: new Set(), active: [0, 0], turn: 0, missing: new Set(),
    };
  },
  computed: {
    cell() { return SIZES[this.size]; },
    steps() { return this.grid ? [...this.grid.steps].reverse() : []; },
    rows() { return counted(...inView(this.top, this.height, this.cell, this.steps.length)); },
    columns() { return counted(...inView(this.left - SIDE, this.width, this.cell, this.grid.prompts.length)); },
    wallHeight() { return `min(70vh, ${HEAD + this.steps.length * this.cell + 18}px)`; },
  },
  watch: {
    version() { this.load(); },
    mode() { this.$nextTick(this.measure); },
  },
  async mounted() {
    this.firstVersion = null;
    await this.load();
    this.sizes_seen = new ResizeObserver(this.measure);
    this.sizes_seen.observe(this.$el);
  },
  beforeUnmount() {
    this.sizes_seen?.disconnect();
    clearTimeout(this.settling);
  },
  methods: {
    fill: filled,
    async load() {
      try {
        const grid = await ask(runAddress(this.run, "previews"));
        this.error = "";
        this.firstVersion ??= grid.version;
        const kept = this.steps[this.active[0]];
        this.missing = new Set(grid.missing.map(([step, prompt]) => `${step}/${prompt}`));
        this.grid = grid;
        const place = this.steps.indexOf(kept);
        if (place > 0 && this.top > 0) this.active = [place, this.active[1]];
        this.$nextTick(this.measure);
      } catch (error) {
        this.error = error.message;
      }
    },
    measure() {
      const box = this.$refs.scroll;
      if (!box) return;
      this.height = box.clientHeight || this.height;
      this.width = box.clientWidth || this.width;
      this.settle();
    },
    onScroll(event) {
      this.top = event.target.scrollTop;
      this.left = event.target.scrollLeft;
      clearTimeout(this.settling);
      this.settling = setTimeout(this.settle, SETTLED_MS);
    },
    // pictures are asked for where scrolling rests: a drag over a thousand rows asks for none between
    settle() {
      if (!this.grid) return;
      const seen = this.rows.flatMap((row) => this.columns.map((column) => `${this.steps[row]}/${column}`));
      this.wanted = new Set(seen);
    },
    resize(name) {
      const first = Math.floor(this.top / this.cell);
      this.size = name;
      this.$nextTick(() => {
        this.$refs.scroll.scrollTop = first * this.cell;
        this.measure();
      });
    },
    exists(row, column) { return !this.missing.has(`${this.steps[row]}/${column}`); },
    thumbnail(row, column, side = 0) {
      const pixels = side || Math.ceil(this.cell * Math.min(2, window.devicePixelRatio || 1));
      return thumbnailAddress(this.run, this.steps[row], column, pixels, this.firstVersion);
    },
    promptText(column) { return this.grid.prompts[column].text || filled(this.texts.prompt, { number: column + 1 }); },
    name(row, column) { return filled(this.texts.picture, { step: this.steps[row], prompt: this.promptText(column) }); },
    open(row, column) {
      const source = { run: this.run, label: this.run, steps: [...this.steps].reverse(), prompts: this.grid.prompts,
        missing: this.missing, version: this.firstVersion };
      this.$refs.viewer.show([source], 0, this.steps.length - 1 - row, column);
    },
    onKey(event) {
      const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      const [row, column] = neighbour(this.active, move, this.steps.length, this.grid.prompts.length, this.exists);
      this.active = [row, column];
      const box = this.$refs.scroll;
      box.scrollTop = offsetFor(row, this.top, this.height, this.cell, HEAD);
      box.scrollLeft = offsetFor(column, this.left, this.width, this.cell, SIDE);
      setTimeout(() => box.querySelector(`[data-cell="${row}/${column}"]`)?.focus({ preventScroll: true }), 30);
    },
  },
};
