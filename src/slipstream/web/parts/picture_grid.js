// A grid of any number of pictures: only those in view (and a screen around them) are in the page.
const GAP = 12;
const CAPTION = 44;

export default {
  template: `
    <div ref="box" class="s-pictures" role="listbox" aria-multiselectable="true" :aria-label="texts.label" tabindex="0"
         :aria-activedescendant="items.length ? 'picture-' + current : null" :aria-busy="loading ? 'true' : 'false'"
         :data-total="items.length" @keydown="onKey">
      <div :style="{ height: height + 'px', position: 'relative' }">
        <div v-for="cell in shown" :key="cell.item.f" :id="'picture-' + cell.index" role="option"
             :class="['s-picture', { 's-picture-on': chosen.has(cell.item.f), 's-picture-at': cell.index === current }]"
             :aria-selected="chosen.has(cell.item.f) ? 'true' : 'false'" :aria-label="nameOf(cell.item)"
             :style="cell.style" @click="onClick(cell.index, $event)">
          <img :src="thumbnail(cell.item)" alt="" decoding="async" draggable="false" />
          <button type="button" class="s-picture-check" tabindex="-1" :aria-label="texts.select"
                  @click.stop="onCheck(cell.index, $event)"><span class="material-icons">check</span></button>
          <span v-if="cell.item.m" class="s-picture-mask material-icons" :title="texts.masked">contrast</span>
          <div :class="['s-picture-text', { 's-picture-none': !cell.item.c }]">{{ cell.item.c || texts.uncaptioned }}</div>
        </div>
      </div>
    </div>
  `,
  props: { source: String, pictures: String, texts: Object },
  emits: ["open", "selection", "loaded"],
  data() {
    return { items: [], chosen: new Set(), current: 0, anchor: 0, width: 0, from: 0, to: 0, loading: true, asked: 0 };
  },
  computed: {
    columns() {
      return Math.max(2, Math.floor((this.width + GAP) / ((this.width < 600 ? 140 : 176) + GAP)));
    },
    side() {
      return Math.floor((this.width - GAP * (this.columns - 1)) / this.columns);
    },
    row() {
      return this.side + CAPTION + GAP;
    },
    height() {
      return Math.max(0, Math.ceil(this.items.length / this.columns) * this.row - GAP);
    },
    shown() {
      const cells = [];
      const last = Math.min(this.items.length, this.to * this.columns);
      for (let index = this.from * this.columns; index < last; index++) {
        const left = (index % this.columns) * (this.side + GAP);
        const top = Math.floor(index / this.columns) * this.row;
        const style = { left: left + "px", top: top + "px", width: this.side + "px", height: this.row - GAP + "px" };
        cells.push({ index, item: this.items[index], style });
      }
      return cells;
    },
  },
  watch: {
    source() {
      this.load();
    },
  },
  mounted() {
    this.look = () => this.measure();
    window.addEventListener("scroll", this.look, { passive: true });
    this.observer = new ResizeObserver(this.look);
    this.observer.observe(this.$refs.box);
    this.measure();
    this.load();
  },
  unmounted() {
    window.removeEventListener("scroll", this.look);
    this.observer.disconnect();
  },
  methods: {
    async load() {
      const turn = ++this.asked;
      this.loading = true;
      const answer = await fetch((window.path_prefix || "") + this.source);
      const items = answer.ok ? await answer.json() : [];
      if (turn !== this.asked) return; // a newer list is on its way
      this.items = items;
      this.loading = false;
      this.current = Math.min(this.current, Math.max(0, items.length - 1));
      const there = new Set(items.map((item) => item.f));
      const kept = [...this.chosen].filter((file) => there.has(file));
      if (kept.length !== this.chosen.size) this.choose(new Set(kept));
      this.$nextTick(() => this.measure());
      this.$emit("loaded", { total: items.length });
    },
    patch(captions) {
      for (const item of this.items) if (item.f in captions) item.c = captions[item.f];
    },
    measure() {
      const box = this.$refs.box;
      if (!box) return;
      const place = box.getBoundingClientRect();
      this.width = place.width;
      const rows = Math.ceil(this.items.length / this.columns);
      const screen = window.innerHeight;
      this.from = Math.max(0, Math.min(rows, Math.floor((-place.top - screen / 2) / this.row)));
      this.to = Math.max(this.from, Math.min(rows, Math.ceil((-place.top + 1.5 * screen) / this.row)));
    },
    thumbnail(item) {
      const query = `file=${encodeURIComponent(item.f)}&side=256&v=${item.v}`;
      return `${window.path_prefix || ""}${this.pictures}/thumbnail?${query}`;
    },
    nameOf(item) {
      return `${item.f}: ${item.c || this.texts.uncaptioned}`;
    },
    choose(files) {
      this.chosen = files;
      this.$emit("selection", { files: [...files] });
    },
    selectAll() {
      this.choose(new Set(this.items.map((item) => item.f)));
    },
    clear() {
      this.choose(new Set());
    },
    toggle(index) {
      const files = new Set(this.chosen);
      const file = this.items[index].f;
      files.has(file) ? files.delete(file) : files.add(file);
      this.anchor = index;
      this.choose(files);
    },
    upTo(index) {
      const files = new Set(this.chosen);
      const [first, last] = [Math.min(this.anchor, index), Math.max(this.anchor, index)];
      for (let at = first; at <= last; at++) files.add(this.items[at].f);
      this.choose(files);
    },
    onCheck(index, event) {
      this.current = index;
      event.shiftKey ? this.upTo(index) : this.toggle(index);
    },
    onClick(index, event) {
      this.current = index;
      if (event.shiftKey) this.upTo(index);
      else if (event.ctrlKey || event.metaKey) this.toggle(index);
      else this.$emit("open", { file: this.items[index].f });
    },
    onKey(event) {
      const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns };
      const ends = { Home: 0, End: this.items.length - 1 };
      if (!this.items.length) return;
      if (event.key in steps) this.goTo(this.current + steps[event.key]);
      else if (event.key in ends) this.goTo(ends[event.key]);
      else if (event.key === "Enter") this.$emit("open", { file: this.items[this.current].f });
      else if (event.key === " ") event.shiftKey ? this.upTo(this.current) : this.toggle(this.current);
      else if (event.key === "a" && (event.ctrlKey || event.metaKey)) this.selectAll();
      else if (event.key === "Escape") this.clear();
      else return;
      event.preventDefault();
    },
    goTo(index) {
      this.current = Math.max(0, Math.min(this.items.length - 1, index));
      const top = this.$refs.box.getBoundingClientRect().top + Math.floor(this.current / this.columns) * this.row;
      if (top < 80) window.scrollBy(0, top - 80);
      else if (top + this.row > window.innerHeight) window.scrollBy(0, top + this.row - window.innerHeight);
    },
  },
};
