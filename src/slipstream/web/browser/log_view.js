// The end of a run's log: it follows, and shows the lines with a text in them.
import { ask, filled, runAddress, whileVisible } from "studio";

const MOST_LINES = 5000;

export default {
  props: { run: String, running: Boolean, texts: Object },
  template: `
    <div class="r-log">
      <div class="r-bar">
        <input type="search" class="r-search" v-model="text" :placeholder="texts.search" :aria-label="texts.search">
        <label class="r-check"><input type="checkbox" v-model="follow">{{ texts.follow }}</label>
        <span v-if="text" class="s-note" role="status">{{ fill(texts.found, { count: shown.length }) }}</span>
        <span v-else-if="cut" class="s-note">{{ texts.cut }}</span>
      </div>
      <div v-if="error" class="s-note" role="alert">{{ error }}</div>
      <pre ref="box" class="r-log-text" tabindex="0" :aria-label="texts.title" @scroll.passive="onScroll"><div v-for="line in shown"
        :key="line.number" class="r-log-line" :class="line.kind">{{ line.text }}</div></pre>
      <div v-if="loaded && !lines.length" class="s-note">{{ texts.none }}</div>
    </div>`,
  data() { return { lines: [], text: "", follow: true, error: "", cut: false, loaded: false }; },
  computed: {
    shown() {
      const wanted = this.text.trim().toLowerCase();
      return wanted ? this.lines.filter((line) => line.text.toLowerCase().includes(wanted)) : this.lines;
    },
  },
  watch: {
    running() { this.load(); },
    follow(on) { if (on) this.toEnd(); },
    text() { this.$nextTick(this.toEnd); },
  },
  async mounted() {
    this.number = 0;
    this.rest = "";
    await this.load();
    this.end = whileVisible(2, () => { if (this.running) this.load(); });
  },
  beforeUnmount() { this.end?.(); },
  methods: {
    fill: filled,
    async load() {
      if (this.loading) return;
      this.loading = true;
      try {
        const at = this.next === undefined ? "" : `&offset=${this.next}`;
        const part = await ask(runAddress(this.run, `log?most_bytes=262144${at}`));
        if (this.next !== undefined && part.start < this.next) { this.lines = []; this.rest = ""; }
        if (this.next === undefined) this.cut = part.start > 0;
        this.next = part.next_offset;
        if (part.text) this.take(part.text);
        this.error = "";
      } catch (error) {
        this.error = error.message;
      }
      this.loading = false;
      this.loaded = true;
    },
    take(text) {
      const parts = (this.rest + text).split("\n");
      this.rest = parts.pop();
      const fresh = parts.map((line) => ({ number: this.number++, text: line, kind: this.kindOf(line) }));
      this.lines = [...this.lines, ...fresh].slice(-MOST_LINES);
      this.$nextTick(this.toEnd);
    },
    kindOf(line) {
      if (/\b(error|traceback|failed)\b/i.test(line)) return "r-log-error";
      return /\b(warning|advice)\b/i.test(line) ? "r-log-warning" : "";
    },
    toEnd() { if (this.follow && this.$refs.box) this.$refs.box.scrollTop = this.$refs.box.scrollHeight; },
    onScroll() {
      const box = this.$refs.box;
      const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
      if (!atEnd && this.follow && box.scrollTop < (this.lastTop ?? 0)) this.follow = false;
      this.lastTop = box.scrollTop;
    },
  },
};
