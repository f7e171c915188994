// The browser verifier: a file is hashed here, its bundle is fetched or given,
// and package verify, as WebAssembly, judges it. The file never leaves the
// machine; only its SHA-256 is asked for.
//
// The page has #file (an input), #drop (the area around it), #progress and
// #result (a live region). What else is needed is made here.

import { Judge, hash, readText } from "./workers.js";
import { bytes, el, facts, plain, time } from "./say.js";
import { change, showCopies, showReport, showVerdict } from "./report.js";
import { compareCopies } from "./copies.js";

const caps = { root: 256 << 10, bundle: 8 << 20 }; // bytes, as package verify allows
const suffix = ".clerestory";

const byID = (id) => document.getElementById(id);
const input = byID("file"), drop = byID("drop"), progress = byID("progress"), result = byID("result");
const judge = new Judge();
const thisSite = "this site";
const state = { root: "", rootFrom: thisSite, bundle: null, run: null };

// begin stops what is under way and starts anew; abort belongs to the new run.
function begin() {
  state.run?.abort();
  state.run = new AbortController();
  return state.run;
}

async function take(files) {
  const given = [...files];
  const bundle = given.find((f) => f.name.endsWith(suffix));
  const others = given.filter((f) => f !== bundle);
  if (others.length > 1) return problem("Give one file at a time, with its bundle if you have that.");
  if (bundle) {
    if (bundle.size > caps.bundle) return problem(`${bundle.name} has ${bytes(bundle.size)}: a bundle has at most ${bytes(caps.bundle)}, so it is another file.`);
    try {
      state.bundle = { name: bundle.name, text: await bundle.text() };
    } catch {
      return problem(`${bundle.name} could not be read: choose it again.`);
    }
  }
  if (others.length === 1) return verifyFile(others[0]);
  if (bundle) progress.replaceChildren(el("p", {}, `The bundle ${bundle.name} is ready: now give the file that it belongs to.`));
}

function problem(text) {
  begin();
  progress.replaceChildren();
  showVerdict(result, { verdict: "unchecked", reason: text }).focus();
}

async function verifyFile(file) {
  const run = begin();
  const bundle = state.bundle;
  state.bundle = null;
  result.replaceChildren();
  result.setAttribute("aria-busy", "true");
  try {
    const sha256 = await hashWithProgress(file, run);
    if (run.signal.aborted) return;
    await judgeFile({ name: file.name, size: file.size, sha256 }, bundle, run.signal);
  } catch (err) {
    if (run.signal.aborted) return;
    problem(err.message);
  } finally {
    result.setAttribute("aria-busy", "false");
  }
}

async function hashWithProgress(file, run) {
  const label = el("p", { id: "progress-text" });
  const bar = el("progress", { max: String(Math.max(file.size, 1)), "aria-labelledby": "progress-text" });
  const cancel = el("button", { type: "button", class: "quiet" }, "Cancel");
  cancel.addEventListener("click", () => {
    run.abort();
    progress.replaceChildren(el("p", { role: "status" }, "Cancelled: nothing was checked."));
    input.focus();
  });
  progress.replaceChildren(label, bar, cancel);
  const show = (done) => {
    bar.value = done;
    const percent = file.size ? Math.floor(100 * done / file.size) : 100;
    label.textContent = plain(`Reading ${file.name}: ${bytes(done)} of ${bytes(file.size)} (${percent} %)`);
  };
  show(0);
  const sum = await hash(file, show, run.signal);
  if (!run.signal.aborted) progress.replaceChildren();
  return sum;
}

async function judgeFile(file, bundle, signal) {
  await rootLoaded;
  if (state.root === "") throw new Error("There is no trusted root to judge by: reload the page, or give your own trusted_root.json.");
  const text = bundle?.text ?? await fetchBundle(file.sha256, signal);
  if (signal.aborted) return;
  let root = state.root, checkpoint = "", heading;
  if (text === null) {
    heading = showUnknown(file);
  } else {
    const judged = await judge.ask("judge", root, text, file.name, file.size, file.sha256, Date.now());
    if (signal.aborted) return;
    if (judged.error || !judged.report) throw new Error(judged.error || "The verifier gave no report: reload the page.");
    if (state.rootFrom === thisSite) {
      (judged.report.notChecked ??= []).push({ name: "trusted-root", why: "the trusted root came from this site; compare its fingerprint with one that you have from elsewhere" });
    }
    heading = showVerdict(result, judged.report, file);
    showReport(result, judged.report);
    checkpoint = judged.checkpoint;
    root = judged.trust || root;
  }
  heading.focus();
  const say = showCopies(result);
  const fork = await compareCopies({ judge, trust: root, checkpoint, signal, say: (...line) => { if (!signal.aborted) say(...line); } });
  if (fork && !signal.aborted) {
    change(result, { verdict: "refused", code: "fork", reason: `the log shows different states to different people, so nothing that it says can be relied on: ${fork}` }).focus();
  }
  if (!signal.aborted) result.dataset.done = file.sha256;
}

// fetchBundle gives the bundle's text, or null when the log's server says that
// it knows no release with these bytes.
async function fetchBundle(sha256, signal) {
  try {
    return await readText(`/bundle/sha256/${sha256}`, caps.bundle, signal);
  } catch (err) {
    if (err.status === 404) return null;
    throw new Error(`The evidence for this file could not be fetched (${err.message}): try again, or give the file together with its bundle, FILE${suffix}.`);
  }
}

function showUnknown(file) {
  const mend = file.size === 0
    ? "It is empty, so its download probably failed: download it again."
    : "Do not use it before you know why: download it again from the vendor, or ask the vendor about it.";
  const heading = showVerdict(result, { verdict: "unknown", code: "not-released", reason: `The log knows no release with these bytes. ${mend}` }, file);
  showReport(result, { notChecked: [{ name: "not-released", why: "that no release has these bytes is the server’s word; “clerestory verify --log” reads the whole log to be sure" }] });
  return heading;
}

// The trusted root: the site's own, or better one that the visitor has from
// elsewhere.
const rootBox = byID("trust") ?? el("section", { id: "trust" });
if (!rootBox.isConnected) result.after(rootBox);

async function useRoot(text, from) {
  const brief = await judge.ask("trust", text, Date.now());
  if (brief.error) {
    state.root = ""; // not the one before: the visitor meant this one
    showRoot(el("p", { class: "problem", role: "alert" }, `${from} gave no trusted root that can be used (${brief.error}): give your own trusted_root.json.`));
    return false;
  }
  state.root = text;
  state.rootFrom = from;
  const expired = brief.expired ? el("strong", {}, " (expired: get a newer one)") : "";
  showRoot(
    el("p", {}, from === thisSite
      ? "This root came from this site. Compare its fingerprint with one that you have from elsewhere, such as the vendor’s printed papers or your first download, or give your own file."
      : `This root came from your file ${from}.`),
    facts(["Vendor", brief.vendor], ["Fingerprint", el("code", { id: "fingerprint" }, brief.fingerprint)], ["Version", String(brief.version)],
      ["Expires", el("span", {}, time(brief.expires), expired)], ["Log", brief.origin],
      ["Approvals", `${brief.approvals} different people for a release`], ["Witnesses", brief.witnesses.map((w) => w.name).join(", ") || "none"]));
  return true;
}

function showRoot(...content) {
  const own = el("input", { type: "file", id: "own-root", accept: ".json,application/json" });
  own.addEventListener("change", async () => {
    const file = own.files[0];
    if (!file) return;
    if (file.size > caps.root) return rootBox.append(el("p", { role: "alert" }, `${file.name} is too large to be a trusted root: choose trusted_root.json.`));
    begin();
    result.replaceChildren();
    progress.replaceChildren();
    await useRoot(await file.text(), file.name);
    byID("own-root").focus();
  });
  rootBox.replaceChildren(el("h2", {}, "The trusted root"), ...content,
    el("p", {}, el("label", { for: "own-root" }, "Your own trusted_root.json "), own));
}

async function loadRoot() {
  let text;
  try {
    text = await readText("/trusted_root.json", caps.root);
  } catch (err) {
    showRoot(el("p", { class: "problem", role: "alert" }, `This site’s trusted root could not be fetched (${err.message}): reload the page, or give your own trusted_root.json.`));
    return;
  }
  await useRoot(text, thisSite);
}

input.addEventListener("change", () => {
  const files = [...input.files];
  input.value = ""; // the same file may be chosen again
  if (files.length > 0) take(files);
});

for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (e) => { e.preventDefault(); drop.classList.add("over"); });
}
drop.addEventListener("dragleave", (e) => { if (!drop.contains(e.relatedTarget)) drop.classList.remove("over"); });
drop.addEventListener("drop", (e) => {
  e.preventDefault();
  drop.classList.remove("over");
  if ([...e.dataTransfer.items].some((i) => i.webkitGetAsEntry?.()?.isDirectory)) return problem("That is a folder: give one file.");
  if (e.dataTransfer.files.length > 0) take(e.dataTransfer.files);
});
// A file that misses the area must not replace the page.
for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (e) => e.preventDefault());

input.multiple = true; // the file and its bundle can be given together
result.setAttribute("aria-live", "polite");
const rootLoaded = loadRoot();
