// A grid of thumbnails of which only what is in view is in the page. Arrow keys go from picture to picture.
// cell(row, column) gives {key, src, name} or null; the slot "head" shows a column's heading, rowLabel(row) a row's.
import { counted, inView, neighbour, offsetFor } from "studio";

const HEAD = 66;
const SETTLED_MS = 90;

export default {
  props: { rows: Number, columns: Number, size: Number, cell: Function, rowLabel: Function, rowKey: Function, title: String, version: [Number, String],
    side: { type: Number, default: 84 } },
  emits: ["open"],
  template: `
    <div ref="scroll" class="r-wall-scroll" role="grid" :aria-label="title" :aria-rowcount="rows + 1" :aria-colcount="columns + 1"
      @scroll.passive="onScroll" @keydown="onKey" :style="{ height: 'min(70vh, ' + (head + rows * size + 18) + 'px)' }">
      <div class="r-wall-space" :style="{ width: side + columns * size + 'px', height: head + rows * size + 'px' }">
        <div class="r-wall-head" role="row" :style="{ height: head + 'px' }">
          <div v-for="column in seenColumns" :key="column" class="r-wall-prompt" role="columnheader"
            :style="{ left: side + column * size + 'px', width: size + 'px' }"><slot name="head" :column="column"></slot></div>
        </div>
        <div v-for="line in lines" :key="rowKey(line.row)" class="r-wall-row" role="row"
          :style="{ top: head + line.row * size + 'px', height: size + 'px' }">
          <div class="r-wall-step" role="rowheader" :style="{ width: side + 'px' }"><span>{{ rowLabel(line.row) }}</span></div>
          <template v-for="one in line.cells" :key="one.column">
            <button v-if="one.cell" type="button" class="r-cell" role="gridcell" :style="place(one.column)"
              :tabindex="line.row === active[0] && one.column === active[1] ? 0 : -1" :data-cell="line.row + '/' + one.column"
              :aria-label="one.cell.name" @click="$emit('open', line.row, one.column)" @focus="active = [line.row, one.column]">
              <img v-if="wanted.has(one.cell.key)" alt="" decoding="async" :src="one.cell.src">
            </button>
            <div v-else class="r-cell r-cell-none" role="gridcell" :style="place(one.column)"><span>–</span></div>
          </template>
        </div>
      </div>
    </div>`,
  data() { return { head: HEAD, top: 0, left: 0, height: 600, width: 800, wanted: new Set(), active: [0, 0] }; },
  computed: {
    seenColumns() { return counted(...inView(this.left - this.side, this.width, this.size, this.columns)); },
    lines() {
      const rows = counted(...inView(this.top, this.height, this.size, this.rows));
      return rows.map((row) => ({ row, cells: this.seenColumns.map((column) => ({ column, cell: this.cell(row, column) })) }));
    },
  },
  watch: {
    size(now, before) {
      const first = Math.floor(this.top / before);
      this.$nextTick(() => { this.$refs.scroll.scrollTop = first * now; this.measure(); });
    },
    rows() { this.$nextTick(this.measure); },
    columns() { this.$nextTick(this.measure); },
    version() { this.$nextTick(this.settle); },
  },
  mounted() {
    this.watcher = new ResizeObserver(this.measure);
    this.watcher.observe(this.$refs.scroll);
  },
  beforeUnmount() {
    this.watcher.disconnect();
    clearTimeout(this.settling);
  },
  methods: {
    place(column) { return { left: `${this.side + column * this.size}px`, width: `${this.size}px`, height: `${this.size}px` }; },
    measure() {
      this.height = this.$refs.scroll?.clientHeight || this.height;
      this.width = this.$refs.scroll?.clientWidth || this.width;
      this.settle();
    },
    onScroll(event) {
      this.top = event.target.scrollTop;
      this.left = event.target.scrollLeft;
      clearTimeout(this.settling);
      this.settling = setTimeout(this.settle, SETTLED_MS);
    },
    // pictures are asked for where scrolling rests: a drag over a thousand rows asks for none between
    settle() { this.wanted = new Set(this.lines.flatMap((line) => line.cells.map((one) => one.cell?.key))); },
    onKey(event) {
      const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      const [row, column] = neighbour(this.active, move, this.rows, this.columns, (y, x) => this.cell(y, x) !== null);
      this.active = [row, column];
      const box = this.$refs.scroll;
      box.scrollTop = offsetFor(row, this.top, this.height, this.size, HEAD);
      box.scrollLeft = offsetFor(column, this.left, this.width, this.size, this.side);
      setTimeout(() => box.querySelector(`[data-cell="${row}/${column}"]`)?.focus({ preventScroll: true }), 30);
    },
  },
};
