// Files, folders and zips, dropped anywhere on the page or chosen: sent a few at a time, with progress.
const MOST_FILES = 12;
const MOST_BYTES = 48 * 1024 * 1024;

async function filesOf(entry, path) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ file, name: path + file.name }];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // at most 100 a time
    if (!some.length) break;
    for (const one of some) found.push(...(await filesOf(one, path + entry.name + "/")));
  }
  return found;
}

export default {
  template: `
    <div class="s-upload">
      <div v-if="over" class="s-upload-over" aria-hidden="true"><span class="material-icons">upload</span>{{ texts.drop }}</div>
      <input ref="files" type="file" multiple accept=".jpg,.jpeg,.png,.webp,.txt,.zip" :aria-label="texts.files" hidden
             @change="chosen" />
      <input ref="folder" type="file" multiple webkitdirectory :aria-label="texts.folder" hidden @change="chosen" />
      <slot></slot>
      <div v-if="busy" class="s-upload-bar" role="status">
        <progress :value="sentBytes" :max="allBytes || 1" :aria-label="texts.uploading"></progress>
        <span>{{ texts.uploading }} {{ done }} / {{ total }}</span>
        <button type="button" class="s-upload-stop" @click="stop">{{ texts.stop }}</button>
      </div>
    </div>
  `,
  props: { target: String, texts: Object, taken: Array },
  emits: ["finished", "arrived"],
  data() {
    return { over: false, busy: false, queue: [], done: 0, total: 0, allBytes: 0, sentBytes: 0, request: null, depth: 0 };
  },
  mounted() {
    this.handlers = {
      dragenter: (event) => this.hasFiles(event) && ((this.depth += 1), (this.over = true)),
      dragleave: (event) => this.hasFiles(event) && (this.depth -= 1) <= 0 && this.leave(),
      dragover: (event) => this.hasFiles(event) && event.preventDefault(),
      drop: (event) => this.dropped(event),
    };
    for (const [name, handler] of Object.entries(this.handlers)) window.addEventListener(name, handler);
  },
  unmounted() {
    for (const [name, handler] of Object.entries(this.handlers)) window.removeEventListener(name, handler);
  },
  methods: {
    hasFiles: (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files"),
    leave() {
      this.depth = 0;
      this.over = false;
    },
    pick(folder) {
      (folder ? this.$refs.folder : this.$refs.files).click();
    },
    async dropped(event) {
      if (!this.hasFiles(event)) return;
      event.preventDefault();
      this.leave();
      // what was dropped is only there until the first wait
      const dropped = [...event.dataTransfer.items].filter((item) => item.kind === "file");
      const entries = dropped.map((item) => item.webkitGetAsEntry());
      const files = dropped.map((item) => item.getAsFile());
      const found = [];
      for (const [at, entry] of entries.entries()) {
        if (entry) found.push(...(await filesOf(entry, "")));
        else if (files[at]) found.push({ file: files[at], name: files[at].name });
      }
      const alone = entries.length === 1 && entries[0] && entries[0].isDirectory;
      this.send(alone ? this.withoutTop(found) : found);
    },
    chosen(event) {
      const files = [...event.target.files].map((file) => ({ file, name: file.webkitRelativePath || file.name }));
      event.target.value = "";
      this.send(files.some((one) => one.name.includes("/")) ? this.withoutTop(files) : files);
    },
    withoutTop: (files) => files.map((one) => ({ ...one, name: one.name.slice(one.name.indexOf("/") + 1) })),
    send(files) {
      const plain = files.filter((one) => !one.name.split("/").some((part) => part.startsWith(".")));
      const good = plain.filter((one) => this.taken.some((ending) => one.name.toLowerCase().endsWith(ending)));
      const others = plain.filter((one) => !good.includes(one));
      this.report ||= { pictures: 0, captions: 0, unchanged: 0, refused: [] };
      for (const one of others) this.report.refused.push({ file: one.name, message: this.texts.not_taken, fix: null });
      this.queue.push(...good);
      this.total += good.length;
      this.allBytes += good.reduce((sum, one) => sum + one.file.size, 0);
      if (!this.busy) this.work();
    },
    async work() {
      this.busy = true;
      let before = 0;
      while (this.queue.length) {
        const batch = [];
        let bytes = 0;
        while (this.queue.length && batch.length < MOST_FILES) {
          if (batch.length && bytes + this.queue[0].file.size > MOST_BYTES) break;
          bytes += this.queue[0].file.size;
          batch.push(this.queue.shift());
        }
        const answer = await this.post(batch, (sent) => (this.sentBytes = before + Math.min(sent, bytes)));
        before += bytes;
        this.done += batch.length;
        this.add(answer, batch);
        this.$emit("arrived", { pictures: this.report.pictures });
      }
      const report = this.report;
      Object.assign(this, { busy: false, done: 0, total: 0, allBytes: 0, sentBytes: 0, report: null });
      this.$emit("finished", report);
    },
    post(batch, progress) {
      const form = new FormData();
      for (const one of batch) form.append("files", one.file, one.name);
      return new Promise((resolve) => {
        const request = (this.request = new XMLHttpRequest());
        request.upload.onprogress = (event) => progress(event.loaded);
        request.onload = () => resolve({ status: request.status, text: request.responseText });
        request.onerror = request.onabort = () => resolve({ status: 0, text: "" });
        request.open("POST", (window.path_prefix || "") + this.target);
        request.send(form);
      });
    },
    add(answer, batch) {
      let value = null;
      try {
        value = JSON.parse(answer.text);
      } catch {
        // no answer of ours: told below
      }
      if (answer.status === 200 && value) {
        for (const key of ["pictures", "captions", "unchanged"]) this.report[key] += value[key].length;
        this.report.refused.push(...value.refused);
        return;
      }
      const message = (value && value.message) || this.texts.lost;
      for (const one of batch) this.report.refused.push({ file: one.name, message, fix: (value && value.fix) || null });
    },
    stop() {
      this.queue = [];
      if (this.request) this.request.abort();
    },
  },
};
