// Bringing previews of several runs together.

// Prompts of several runs, each a list of texts: [{text, indexes}], `indexes[run]` a prompt's number there or null.
// Equal texts belong together; what is left of two runs belongs together where it stands at the same place.
export function alignedPrompts(runs) {
  const found = [];
  const taken = runs.map(() => new Set());
  const collect = (fits) => {
    runs.forEach((texts, run) => texts.forEach((text, index) => {
      if (taken[run].has(index)) return;
      const indexes = runs.map((others, other) => {
        const at = other === run ? index : others.findIndex((one, place) => !taken[other].has(place) && fits(text, index, one, place));
        return at < 0 ? null : at;
      });
      if (runs.length > 1 && indexes.filter((at) => at !== null).length < 2 && fits === sameText) return;
      indexes.forEach((at, other) => { if (at !== null) taken[other].add(at); });
      found.push({ text, indexes });
    }));
  };
  const sameText = (text, index, other) => text === other;
  collect(sameText);
  collect((text, index, other, place) => index === place);
  return found.sort((a, b) => first(a) - first(b));
}

const first = ({ indexes }) => indexes.find((at) => at !== null);

// All steps of several runs, rising.
export const alignedSteps = (runs) => [...new Set(runs.flat())].sort((a, b) => a - b);

// The step that is nearest, the earlier of two; null where there is none.
export const nearest = (steps, wanted) =>
  steps.reduce((best, step) => (best === null || Math.abs(step - wanted) < Math.abs(best - wanted) ? step : best), null);
