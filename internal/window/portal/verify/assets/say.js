// Words for values, and elements from words. Everything that came from outside
// goes through plain and textContent: a file name is never markup, and never
// turns the text around it.

// plain shows characters that are invisible or change the direction of text.
export function plain(text) {
  return String(text ?? "").replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, "\ufffd");
}

// el makes an element. Children are elements or text; text is made plain.
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v);
  node.append(...children.flat().map((c) => c instanceof Node ? c : plain(c)));
  return node;
}

export function bytes(n) {
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  let i = 0, v = n;
  for (; v >= 1000 && i < units.length - 1; i++) v /= 1000;
  return i === 0 ? `${n} ${n === 1 ? "byte" : "bytes"}` : `${v.toFixed(1)} ${units[i]}`;
}

export function count(n, one, many) {
  return `${Number(n).toLocaleString("en")} ${Number(n) === 1 ? one : many}`;
}

export function age(seconds) {
  for (const [size, one, many] of [[86400, "day", "days"], [3600, "hour", "hours"], [60, "minute", "minutes"]]) {
    if (seconds >= size) return `${count(Math.floor(seconds / size), one, many)} ago`;
  }
  return "less than a minute ago";
}

// time makes a <time> in words; what is no proper time is said to be unknown.
export function time(iso) {
  const t = new Date(iso);
  if (Number.isNaN(t.getTime()) || t.getFullYear() < 1971) return el("span", {}, "an unknown time");
  const words = t.toLocaleString("en-GB", { dateStyle: "long", timeStyle: "short", timeZone: "UTC" });
  return el("time", { datetime: t.toISOString() }, `${words} UTC`);
}

export function code(text) { return el("code", {}, text); }

// facts makes a description list from pairs.
export function facts(...pairs) {
  return el("dl", { class: "facts" }, pairs.flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, v)]));
}
