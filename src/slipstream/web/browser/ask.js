// Asking the studio's API.

// The answer's JSON; throws an Error with the problem's words.
export async function ask(address, options = {}) {
  const answer = await fetch(address, { headers: { Accept: "application/json" }, ...options });
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  let text = `${answer.status}`;
  try {
    const problem = await answer.json();
    text = [problem.message, problem.fix].filter(Boolean).join(": ");
  } catch {
    // not one of our problems: the status says what there is to say
  }
  throw new Error(text);
}

export const runAddress = (run, rest) => `/api/runs/${encodeURIComponent(run)}/${rest}`;
export const previewAddress = (run, step, prompt) => runAddress(run, `previews/${step}/${prompt}`);
export const drawingAddress = (drawing, rest = "") => `/api/playground/drawings/${drawing}${rest && `/${rest}`}`;
export const thumbnailAddress = (run, step, prompt, side, version) =>
  `${previewAddress(run, step, prompt)}/thumbnail?side=${side}&v=${version}`;

// Calls `look` every `seconds` while the page is visible; returns a function that ends it.
export function whileVisible(seconds, look) {
  const timer = setInterval(() => {
    if (document.visibilityState === "visible") look();
  }, 1000 * seconds);
  return () => clearInterval(timer);
}

// Text with {names} filled in.
export const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

// A value of an axis of a grid: of a checkpoint's file its step, or that it is the finished one.
export function shortLabel(kind, label, texts) {
  if (kind !== "checkpoint") return label;
  const step = /_0*(\d+)\.safetensors$/.exec(label);
  return step ? step[1] : texts.finished_lora;
}
