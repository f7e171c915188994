// What the page says about a file. Words first: the tint only repeats them.

import { age, bytes, code, count, el, facts, plain, time } from "./say.js";

const words = {
  verified: ["Verified", "ok"],
  refused: ["Refused", "bad"],
  unknown: ["Not known", "bad"],
  unchecked: ["Not checked", "warn"],
};

// showVerdict fills box with a verdict and returns its heading, to be focused.
export function showVerdict(box, { verdict, code: reasonCode, reason }, file) {
  const [word, tone] = words[verdict] ?? words.unchecked;
  const heading = el("h2", { tabindex: "-1" }, word);
  const section = el("section", { class: `verdict ${tone}`, "data-verdict": verdict, "data-code": reasonCode ?? "" }, heading, el("p", {}, sentence(reason)));
  box.replaceChildren(section);
  if (file) {
    box.append(facts(["File", el("bdi", {}, file.name)], ["Size", `${bytes(file.size)}`], ["SHA-256", code(file.sha256)]));
  }
  return heading;
}

// change turns a verdict that was already shown into a worse one.
export function change(box, verdict) {
  const old = box.querySelector(".verdict");
  const made = document.createElement("div");
  const heading = showVerdict(made, verdict);
  old.replaceWith(made.firstChild);
  return heading;
}

// showReport adds the evidence under a verdict.
export function showReport(box, report) {
  const claims = report.claims ?? [];
  if (claims.length > 0) {
    box.append(el("h2", {}, "What was checked"), el("ul", { class: "claims", id: "claims" }, claims.map(claim)));
  }
  const missing = report.notChecked ?? [];
  if (missing.length > 0) {
    box.append(el("h2", {}, "What was not checked"), el("ul", { class: "claims", id: "not-checked" },
      missing.map((n) => el("li", {}, el("strong", {}, n.name), el("p", {}, sentence(n.why))))));
  }
  if (report.checkpoint) {
    const c = report.checkpoint;
    const seen = c.ageSeconds >= 0 ? [time(c.time), ` (${age(c.ageSeconds)})`] : [time(c.time), " (ahead of this computer’s clock)"];
    box.append(el("h2", {}, "The state of the log that this relies on"), facts(
      ["Log", c.origin], ["Entries", count(c.size, "entry", "entries")], ["Root hash", code(c.root)],
      ["Seen by witnesses", el("span", {}, seen)], ["Witnesses", (c.witnesses ?? []).join(", ") || "none"]));
  }
  if (report.trust) {
    box.append(el("h2", {}, "The trusted root that this relies on"), facts(
      ["Vendor", report.trust.vendor], ["Fingerprint", code(report.trust.fingerprint)],
      ["Version", String(report.trust.version)], ["Expires", time(report.trust.expires)]));
  }
}

function claim(c) {
  const line = el("li", {}, el("strong", {}, c.name), el("p", {}, c.text));
  if (Number.isSafeInteger(c.entry) && c.entry >= 0) {
    line.append(el("a", { class: "seal", href: `/statements/${c.entry}`, "aria-label": `Statement ${c.entry}` }, `#${c.entry}`));
  }
  return line;
}

// showCopies adds an empty list for the comparison with others, and returns the
// function that adds a line to it.
export function showCopies(box) {
  const list = el("ul", { class: "claims", id: "copies" });
  box.append(el("h2", {}, "Does everybody see the same log?"), list);
  return (name, [word, tone], text) => list.append(el("li", { "data-name": plain(name), "data-state": word },
    el("strong", {}, name), el("p", {}, sentence(text)), el("span", { class: `state ${tone}` }, word)));
}

function sentence(text) {
  const s = plain(text).trim();
  if (s === "") return s;
  const capital = /^[a-z]+(?=[ ,:;'’])/.test(s) ? s[0].toUpperCase() + s.slice(1) : s;
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
