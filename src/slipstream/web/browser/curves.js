// Curves of metrics: smoothing, ranges, and reading on. Values are numbers or null.

// Exponential moving average without the bias of its start; `amount` from 0 (off) to below 1. Gaps stay gaps.
export function smoothed(values, amount) {
  if (!amount) return values;
  let total = 0;
  let weight = 0;
  return values.map((value) => {
    if (value === null || !Number.isFinite(value)) return null;
    total = amount * total + (1 - amount) * value;
    weight = amount * weight + (1 - amount);
    return total / weight;
  });
}

function quantile(sorted, share) {
  const place = share * (sorted.length - 1);
  const low = Math.floor(place);
  const rest = place - low;
  return sorted[low] + rest * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

// [low, high] that shows the curve: values over 4 interquartile ranges from the middle half are left out.
export function robustRange(values) {
  const sorted = values.filter((value) => value !== null && Number.isFinite(value)).sort((a, b) => a - b);
  if (!sorted.length) return null;
  const ends = [sorted[0], sorted.at(-1)];
  const [lower, upper] = [quantile(sorted, 0.25), quantile(sorted, 0.75)];
  const reach = 4 * (upper - lower);
  if (sorted.length < 12 || reach <= 0) return ends;
  const inside = sorted.filter((value) => value >= lower - reach && value <= upper + reach);
  return [inside[0], inside.at(-1)];
}

// [low, high, step] of an axis around a range: round ends with some air, and a round step between its lines.
export function axisEnds(low, high, lines = 5) {
  const span = high - low || Math.abs(high) || 1;
  const unit = 10 ** Math.floor(Math.log10(span / lines));
  const step = unit * [1, 2, 5, 10].find((one) => one * unit * lines >= span);
  const tidy = (value) => Number(value.toPrecision(12));
  const bottom = Math.floor((low - 0.02 * span) / step) * step;
  return [tidy(low >= 0 ? Math.max(0, bottom) : bottom), tidy(Math.ceil((high + 0.02 * span) / step) * step), tidy(step)];
}

// The columns with later ones after them; a column that is new, or missing in the later part, has gaps.
export function joined(columns, later) {
  const before = columns.step?.length ?? 0;
  const fresh = later.step?.length ?? 0;
  const found = {};
  for (const key of new Set([...Object.keys(columns), ...Object.keys(later)])) {
    found[key] = [...(columns[key] ?? Array(before).fill(null)), ...(later[key] ?? Array(fresh).fill(null))];
  }
  return found;
}

// [[step, value], ...] of one column, without what a log axis cannot show.
export function points(columns, key, { amount = 0, log = false } = {}) {
  const values = smoothed(columns[key] ?? [], amount);
  const found = [];
  values.forEach((value, index) => {
    if (value !== null && Number.isFinite(value) && (!log || value > 0)) found.push([columns.step[index], value]);
  });
  return found;
}
