// Which of many equally large things are in view.

export const SIZES = { small: 104, medium: 168, large: 264 };

// Pixels of a thumbnail that looks sharp at a size on this screen.
export const pixelsFor = (size) => Math.ceil(size * Math.min(2, window.devicePixelRatio || 1));

// [first, last) of `count` things of `size` pixels that a view of `length` pixels at `offset` shows, with `extra` around.
export function inView(offset, length, size, count, extra = 1) {
  const first = Math.max(0, Math.floor(offset / size) - extra);
  const last = Math.min(count, Math.ceil((offset + length) / size) + extra);
  return [Math.min(first, count), Math.max(last, Math.min(first, count))];
}

export const counted = (first, last) => Array.from({ length: Math.max(0, last - first) }, (_, index) => first + index);

// The offset that shows thing `index` whole in a view that covers its first `covered` pixels.
export function offsetFor(index, offset, length, size, covered = 0) {
  const start = index * size;
  if (start < offset) return start;
  return Math.max(offset, start + size - (length - covered));
}

// The next existing cell from (row, column) in a direction, over those that are missing; the same one at an edge.
export function neighbour([row, column], [down, right], rows, columns, exists) {
  let [y, x] = [row + down, column + right];
  while (y >= 0 && y < rows && x >= 0 && x < columns) {
    if (exists(y, x)) return [y, x];
    [y, x] = [y + down, x + right];
  }
  return [row, column];
}
