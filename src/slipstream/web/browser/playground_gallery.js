// What the playground has drawn and is drawing, the newest first. It asks while something is being drawn, else not at all.
import { ask, drawingAddress, filled, shortLabel, whileVisible } from "studio";
import drawingCard from "studio/drawing_card.js";
import viewer from "studio/picture_viewer.js";

const SECONDS = 0.7;
const PAGE = 12;
const PLAYGROUND = "/api/playground";
const isActive = (drawing) => ["waiting", "drawing"].includes(drawing.state);

export default {
  components: { drawingCard, viewer },
  props: { newest: String, texts: Object, viewerTexts: Object },
  emits: ["reuse"],
  template: `
    <div class="p-gallery">
      <div v-if="process || waits" class="p-process">
        <span class="r-chip" :class="process ? (process.state === 'drawing' ? 'r-chip-running' : 'r-chip-finished') : 'r-chip-stopped'">{{ processText }}</span>
        <span class="s-note r-grow">{{ processNote }}</span>
        <button v-if="process" type="button" class="r-link p-text-button" @click="giveBack">{{ texts.give_back }}</button>
      </div>
      <div v-if="error" class="p-trouble" role="alert">{{ error }}</div>
      <drawing-card v-for="drawing in drawings" :key="drawing.id" :drawing="drawing" :texts="texts" @open="open(drawing, $event)"
        @reuse="$emit('reuse', drawing.form)" @remove="remove(drawing)" @cancel="cancel(drawing)"></drawing-card>
      <div v-if="loaded && !drawings.length" class="s-empty"><i class="q-icon material-icons s-empty-icon" aria-hidden="true">brush</i>
        <div class="s-empty-title">{{ texts.none }}</div><div class="s-note">{{ texts.none_text }}</div></div>
      <button v-if="more" type="button" class="p-more" @click="loadMore">{{ texts.more }}</button>
      <viewer ref="viewer" :texts="viewerTexts"></viewer>
    </div>`,
  data() { return { drawings: [], more: false, loaded: false, error: "", desk: { process: null, num_waiting: 0 }, pushed: 0 }; },
  computed: {
    process() { return this.desk.process; },
    waits() { return this.desk.num_waiting > 0; },
    processText() {
      if (!this.process) return this.texts.nobody;
      const name = this.process.base || this.texts.no_model;
      return `${name} · ${this.process.device}`;
    },
    processNote() {
      if (!this.process) return filled(this.texts.nobody_note, { count: this.desk.num_waiting });
      const memory = this.process.memory_gib ? `${this.process.memory_gib.toFixed(1)} GiB · ` : "";
      if (this.process.state !== "idle") return memory + (this.waits ? filled(this.texts.queued, { count: this.desk.num_waiting }) : "");
      const until = new Date(1000 * this.process.leaves_at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      return memory + filled(this.texts.stays_until, { time: until });
    },
  },
  watch: { newest() { this.look(); } },
  async mounted() {
    await this.look();
    this.stopLooking = whileVisible(SECONDS, () => { if (this.drawings.some(isActive) || this.waits || this.leaving) this.look(); });
    document.addEventListener("visibilitychange", this.look);
  },
  beforeUnmount() {
    this.stopLooking?.();
    clearTimeout(this.untilItLeaves);
    document.removeEventListener("visibilitychange", this.look);
  },
  methods: {
    // the newest page anew, and below it those that are still being drawn
    async look() {
      if (this.looking || document.visibilityState !== "visible") return;
      this.looking = true;
      try {
        const [desk, page] = await Promise.all([ask(PLAYGROUND), ask(`${PLAYGROUND}/drawings?limit=${PAGE}`)]);
        this.desk = desk;
        if (!desk.process) this.leaving = false;
        this.lookWhenItLeaves();
        const last = page.drawings.at(-1)?.id ?? "";
        const older = page.more ? this.drawings.filter((one) => one.id < last) : [];
        const looked = await Promise.all(older.map((one) => (isActive(one) ? ask(drawingAddress(one.id)) : one)));
        this.drawings = [...page.drawings, ...looked];
        if (!older.length) this.more = page.more;
        this.loaded = true;
        this.error = "";
        await this.push();
      } catch (error) {
        this.error = error.message;
      } finally {
        this.looking = false;
      }
    },
    lookWhenItLeaves() {
      clearTimeout(this.untilItLeaves);
      const until = this.process?.leaves_at;
      if (until) this.untilItLeaves = setTimeout(this.look, Math.max(1000, 1000 * until - Date.now() + 1500));
    },
    // drawings wait and nobody draws: the last process died, or gave its GPU back
    async push() {
      if (this.process || !this.waits || Date.now() - this.pushed < 5000) return;
      this.pushed = Date.now();
      this.desk = await ask(`${PLAYGROUND}/go-on`, { method: "POST" });
    },
    async loadMore() {
      const page = await ask(`${PLAYGROUND}/drawings?limit=${PAGE}&before=${this.drawings.at(-1).id}`);
      this.drawings = [...this.drawings, ...page.drawings];
      this.more = page.more;
    },
    async tell(address, method) {
      try {
        await ask(address, { method });
      } catch (error) {
        this.error = error.message;
      }
      await this.look();
    },
    async remove(drawing) {
      if (drawing.ready.length && !window.confirm(filled(this.texts.remove_sure, { count: drawing.ready.length }))) return;
      this.drawings = this.drawings.filter((one) => one.id !== drawing.id);
      await this.tell(drawingAddress(drawing.id), "DELETE");
    },
    cancel(drawing) { return this.tell(drawingAddress(drawing.id, "cancel"), "POST"); },
    giveBack() {
      this.leaving = true;
      return this.tell(`${PLAYGROUND}/give-back`, "POST");
    },
    // the viewer's arrows to left and right go along a row of the drawing; of a pair they go from with to without LoRA
    open(drawing, number) {
      const width = drawing.columns.length;
      const isPairs = drawing.layout === "pairs";
      const rows = isPairs ? [this.texts.with_lora, this.texts.without_lora] : drawing.rows;
      const ready = new Set(drawing.ready);
      const name = (kind, label) => (kind ? `${this.texts[`axis_${kind}`]} ${shortLabel(kind, label, this.texts)}` : label);
      const across = drawing.columns.map((label) => name(drawing.column_axis, label));
      const down = rows.map((label) => name(drawing.row_axis, label));
      const [steps, prompts] = isPairs ? [down, across] : [across, down];
      const numberAt = (step, prompt) => (isPairs ? step * width + prompt : prompt * width + step);
      const places = steps.flatMap((_, step) => prompts.map((__, prompt) => [step, prompt]));
      const source = {
        label: drawing.form.prompt, steps: steps.map((_, step) => step), version: 0,
        prompts: prompts.map((text) => ({ text: text || drawing.form.prompt })),
        missing: new Set(places.filter(([step, prompt]) => !ready.has(numberAt(step, prompt))).map((place) => place.join("/"))),
        address: (step, prompt) => drawingAddress(drawing.id, `pictures/${numberAt(step, prompt)}`),
        rowName: (step) => steps[step],
        fileName: (step, prompt) => `${drawing.id}_${numberAt(step, prompt)}.png`,
      };
      const [row, column] = [Math.floor(number / width), number % width];
      const a = isPairs ? { source: 0, row, column } : { source: 0, row: column, column: row };
      this.$refs.viewer.show([source], a, isPairs ? { ...a, row: 1 - row } : null, isPairs ? "over" : "one");
    },
  },
};
