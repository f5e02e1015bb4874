// Two pictures of one size over each other: left of the line the first, right of it the second. Drag, or use arrow keys.
export default {
  props: { first: String, second: String, firstName: String, secondName: String, width: Number, height: Number, label: String },
  template: `
    <div class="p-split" :style="{ aspectRatio: width + ' / ' + height }">
      <img :src="second" :alt="secondName" loading="lazy" decoding="async" draggable="false">
      <img :src="first" :alt="firstName" loading="lazy" decoding="async" draggable="false" :style="{ clipPath: 'inset(0 ' + (100 - cut) + '% 0 0)' }">
      <span class="p-split-name" :style="{ opacity: cut > 12 ? 1 : 0 }">{{ firstName }}</span>
      <span class="p-split-name p-split-second" :style="{ opacity: cut < 88 ? 1 : 0 }">{{ secondName }}</span>
      <span class="p-split-line" :style="{ left: cut + '%' }"></span>
      <input type="range" min="0" max="100" v-model.number="cut" :aria-label="label">
    </div>`,
  data() { return { cut: 50 }; },
};
