// One picture at full size, two beside each other, or their difference; arrow keys go through checkpoints and prompts.
// A source is {run, label, steps (rising), prompts, missing, version}: one run's previews. Compare pages give several. Pictures
// from elsewhere bring address(step, column), rowName(step) and fileName(step, column).
import { ask, difference, filled, loadPicture, pixelsOf, previewAddress } from "studio";

const MODES = ["one", "beside", "over", "difference"];

export default {
  props: { texts: Object },
  template: `
    <dialog ref="box" class="r-viewer" :aria-label="texts.title" @keydown="onKey" @click.self="close" @close="shown = false">
      <div v-if="shown" class="r-viewer-frame">
        <div class="r-viewer-bar">
          <div class="r-segments" role="group" :aria-label="texts.mode">
            <button v-for="name in modes" type="button" :aria-pressed="mode === name" @click="setMode(name)">{{ texts['mode_' + name] }}</button>
          </div>
          <label v-if="mode === 'difference'" class="r-range r-gain">{{ fill(texts.gain, { gain }) }}
            <input type="range" min="1" max="16" v-model.number="gain"></label>
          <span v-if="mode === 'difference' && mean !== null" class="s-note">{{ fill(texts.mean, { percent: (100 * mean).toFixed(2) }) }}</span>
          <span class="r-grow"></span>
          <a class="r-link" :href="address(a)" target="_blank" rel="noopener">{{ texts.original }}</a>
          <a v-if="has(a)" class="r-link" :href="address(a)" :download="fileName(a)">{{ texts.download }}</a>
          <button type="button" class="r-close" :aria-label="texts.close" @click="close">✕</button>
        </div>
        <div class="r-viewer-stage" :class="'r-stage-' + mode">
          <figure v-if="mode !== 'difference'" :style="mode === 'over' ? { clipPath: 'inset(0 ' + (100 - cut) + '% 0 0)' } : null">
            <img v-if="has(a)" :src="address(a)" :alt="name(a)"><span v-else class="r-absent">{{ texts.absent }}</span>
            <figcaption v-if="mode === 'beside'">{{ short(a) }}</figcaption></figure>
          <figure v-if="mode === 'beside' || mode === 'over'" class="r-second">
            <img v-if="has(b)" :src="address(b)" :alt="name(b)"><span v-else class="r-absent">{{ texts.absent }}</span>
            <figcaption v-if="mode === 'beside'">{{ short(b) }}</figcaption></figure>
          <figure v-if="mode === 'difference'"><canvas ref="canvas" role="img" :aria-label="texts.mode_difference"></canvas>
            <span v-if="trouble" class="r-absent">{{ trouble }}</span></figure>
        </div>
        <label v-if="mode === 'over'" class="r-range r-cut">{{ short(a) }}
          <input type="range" min="0" max="100" v-model.number="cut" :aria-label="texts.cut">{{ short(b) }}</label>
        <div class="r-viewer-foot">
          <div v-for="side in mode === 'one' ? ['a'] : ['a', 'b']" :key="side" class="r-place">
            <strong v-if="mode !== 'one'">{{ side.toUpperCase() }}</strong>
            <label v-if="sources.length > 1">{{ texts.run }}
              <select :value="this[side].source" @change="place(side, { source: Number($event.target.value) })">
                <option v-for="(one, index) in sources" :value="index">{{ one.label }}</option></select></label>
            <label v-if="sources[this[side].source].steps.length > 1" class="r-range">{{ stepText(this[side]) }}
              <input type="range" min="0" :max="sources[this[side].source].steps.length - 1" :value="this[side].row"
                @input="place(side, { row: Number($event.target.value) })"></label>
            <label v-if="sources[this[side].source].prompts.length > 1">{{ texts.prompt }}
              <select :value="this[side].column" @change="place(side, { column: Number($event.target.value) })">
                <option v-for="(prompt, index) in sources[this[side].source].prompts" :value="index">{{ index + 1 }}. {{ prompt.text }}</option>
              </select></label>
          </div>
          <div class="r-facts"><template v-for="(value, key) in facts" :key="key"><span><b>{{ key }}</b> {{ value }}</span></template></div>
          <div class="s-note r-only-wide">{{ texts.keys }}</div>
        </div>
      </div>
    </dialog>`,
  data() {
    return { shown: false, modes: MODES, mode: "one", sources: [], a: {}, b: {}, cut: 50, gain: 4, mean: null, facts: {}, trouble: "" };
  },
  watch: {
    gain() { this.draw(); },
  },
  methods: {
    fill: filled,
    // a place is {source, row, column}; its row counts the source's steps from the first. Without `b` that is the first step.
    show(sources, a, b = null, mode = "one") {
      this.sources = sources;
      this.a = a;
      this.b = b ?? { ...a, row: this.firstWith(sources[a.source], a.column) };
      this.shown = true;
      this.mode = mode;
      if (!this.$refs.box.open) this.$refs.box.showModal();
      this.changed();
    },
    close() { this.$refs.box.close(); },
    setMode(name) { this.mode = name; this.changed(); },
    firstWith(source, column) {
      const row = source.steps.findIndex((step) => !source.missing.has(`${step}/${column}`));
      return Math.max(0, row);
    },
    // the place in another run: the same prompt, and the step that is nearest
    fitted(place) {
      const source = this.sources[place.source];
      const step = this.stepOf(this.a);
      const row = source.steps.reduce((best, one, index) => (Math.abs(one - step) < Math.abs(source.steps[best] - step) ? index : best), 0);
      return { ...place, row, column: Math.min(place.column, source.prompts.length - 1) };
    },
    place(side, change) {
      this[side] = { ...this[side], ...change };
      if ("source" in change) this[side] = this.fitted(this[side]);
      if ("column" in change && side === "a") this.b = { ...this.b, column: Math.min(change.column, this.sources[this.b.source].prompts.length - 1) };
      this.changed();
    },
    stepOf(place) { return this.sources[place.source].steps[place.row]; },
    has(place) { return !this.sources[place.source].missing.has(`${this.stepOf(place)}/${place.column}`); },
    picture(place) {
      const source = this.sources[place.source];
      return (source.address ?? ((step, column) => previewAddress(source.run, step, column)))(this.stepOf(place), place.column);
    },
    address(place) { return `${this.picture(place)}?v=${this.sources[place.source].version}`; },
    stepText(place) {
      const step = this.stepOf(place);
      return this.sources[place.source].rowName?.(step) ?? filled(this.texts.step, { step: step.toLocaleString() });
    },
    fileName(place) {
      const source = this.sources[place.source];
      const step = this.stepOf(place);
      return source.fileName?.(step, place.column) ?? `${source.run}_${step}_${place.column}.png`;
    },
    short(place) {
      const step = this.stepText(place);
      return this.sources.length > 1 ? `${this.sources[place.source].label} · ${step}` : step;
    },
    name(place) { return `${this.short(place)}, ${this.sources[place.source].prompts[place.column].text}`; },
    changed() {
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => { this.readFacts(); this.preload(); }, 120);
      this.$nextTick(this.draw);
    },
    async readFacts() {
      const place = this.a;
      this.facts = {};
      if (!this.has(place)) return;
      try {
        const facts = await ask(`${this.picture(place)}/facts`);
        if (place === this.a) this.facts = facts;
      } catch (error) {
        this.facts = { "!": error.message };
      }
    },
    preload() {
      for (const move of [-1, 1]) {
        const place = { ...this.a, row: this.a.row + move };
        if (this.sources[place.source].steps[place.row] !== undefined && this.has(place)) new Image().src = this.address(place);
      }
    },
    async draw() {
      if (this.mode !== "difference" || !this.shown) return;
      const [a, b] = [this.a, this.b];
      this.trouble = "";
      if (!this.has(a) || !this.has(b)) { this.trouble = this.texts.absent; return; }
      try {
        const [first, second] = await Promise.all([loadPicture(this.address(a)), loadPicture(this.address(b))]);
        const canvas = this.$refs.canvas;
        if (a !== this.a || b !== this.b || !canvas) return;
        const [width, height] = [first.naturalWidth, first.naturalHeight];
        const found = difference(pixelsOf(first, width, height), pixelsOf(second, width, height), this.gain);
        [canvas.width, canvas.height] = [width, height];
        canvas.getContext("2d").putImageData(new ImageData(found.pixels, width, height), 0, 0);
        this.mean = found.mean;
      } catch {
        this.trouble = this.texts.absent;
      }
    },
    onKey(event) {
      if (/^(INPUT|SELECT)$/.test(event.target.tagName)) return;
      const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      const source = this.sources[this.a.source];
      const row = Math.min(source.steps.length - 1, Math.max(0, this.a.row + move[0]));
      const column = Math.min(source.prompts.length - 1, Math.max(0, this.a.column + move[1]));
      this.place("a", move[0] ? { row } : { column });
    },
  },
};
