// Whether others see the log as it is shown here: the log's current state, and
// the copy that each witness keeps. A witness that cannot be asked is said to be
// unchecked; it never counts as agreeing.

import { readText } from "./workers.js";
import { count } from "./say.js";

const most = 32 << 10; // bytes of a checkpoint, as package verify allows

const states = {
  same: ["Agrees", "ok"],
  ahead: ["Ahead", "warn"],
  behind: ["Behind", "warn"],
  fork: ["Disagrees", "bad"],
};
const unchecked = ["Not checked", "warn"];

// compareCopies compares the checkpoint of a bundle ("" for none) with the log's
// current one, and that with the witnesses' copies. say(name, state, text) gets
// a line for each. It returns the reason of a fork, or "".
export async function compareCopies({ judge, trust, checkpoint, say, signal }) {
  const brief = await judge.ask("trust", trust, Date.now());
  if (brief.error) {
    say("The log", unchecked, brief.error);
    return "";
  }
  const [base, fork] = await current(judge, trust, checkpoint, say, signal);
  const forks = await Promise.all(brief.witnesses.map((w) => witness(judge, trust, base, brief, w, say, signal)));
  return [fork, ...forks].find(Boolean) ?? "";
}

// current compares with the log's state of now, and gives what to compare the
// witnesses with.
async function current(judge, trust, checkpoint, say, signal) {
  const name = "The log now";
  let text;
  try {
    text = await readText("/log/checkpoint", most, signal);
  } catch (err) {
    say(name, unchecked, `the log’s current state could not be fetched (${err.message}): reload the page to try again`);
    return [checkpoint, ""];
  }
  const opened = await judge.ask("checkpoint", trust, text);
  if (opened.error) {
    say(name, unchecked, `what the server shows as the log’s current state is not believed: ${opened.error}`);
    return [checkpoint, ""];
  }
  if (checkpoint === "") {
    say(name, ["Opened", "ok"], `${count(opened.size, "entry", "entries")}, cosigned by ${opened.witnesses.join(", ") || "no witness"}`);
    return [text, ""];
  }
  const c = await compare(judge, trust, checkpoint, text, "", signal);
  if (c.error) {
    say(name, unchecked, c.error);
    return [checkpoint, ""];
  }
  say(name, states[c.relation], `${sizes(c, "the log now", "the bundle")}`);
  return [text, c.relation === "fork" ? c.reason : ""];
}

async function witness(judge, trust, base, brief, w, say, signal) {
  const name = `Witness ${w.name}`;
  if (!w.url) {
    say(name, unchecked, "the trusted root names no address where its copy could be read");
    return "";
  }
  if (base === "") {
    say(name, unchecked, "there is no state of the log to compare its copy with");
    return "";
  }
  let text;
  try {
    text = await readText(`${w.url.replace(/\/+$/, "")}/checkpoint/${brief.originSHA256}`, most, signal);
  } catch (err) {
    say(name, unchecked, err.status === 404
      ? "it keeps no copy of this log"
      : `it could not be asked at ${w.url} (${err.status ? err.message : "no answer"}): try again later`);
    return "";
  }
  const c = await compare(judge, trust, base, text, w.name, signal);
  if (c.error) {
    say(name, unchecked, `what it shows is not believed: ${c.error}`);
    return "";
  }
  const unsigned = c.cosigned ? "" : "; the copy does not carry its own signature";
  say(name, states[c.relation], sizes(c, "its copy", "the log here") + unsigned);
  return c.relation === "fork" ? c.reason : "";
}

// compare compares two states; where one has more entries, it asks this site for
// the proof that the other grew into it. The proof is checked, so the site need not
// be believed; without one the growth stays unchecked.
async function compare(judge, trust, ours, theirs, witness, signal) {
  const c = await judge.ask("compare", trust, ours, theirs, witness, "");
  if (c.error || c.ours.size === c.theirs.size || c.ours.size === 0 || c.theirs.size === 0) return c;
  const [from, to] = [c.ours.size, c.theirs.size].sort((a, b) => a - b);
  let proof;
  try {
    proof = await readText(`/growth/${from}/${to}`, most, signal);
  } catch {
    return c;
  }
  return proof === "" ? c : judge.ask("compare", trust, ours, theirs, witness, proof);
}

// sizes says how their state stands to ours, and no more than was checked.
function sizes(c, theirs, ours) {
  const n = (s) => count(s.size, "entry", "entries");
  switch (c.relation) {
    case "same":
      return `${theirs} has the same ${n(c.ours)} and the same root hash as ${ours}`;
    case "fork":
      return `${theirs} and ${ours} cannot both be true: ${c.reason}`;
  }
  const more = c.relation === "ahead" ? "more" : "fewer";
  const growth = c.proven ? "one was proven to grow into the other" : "that one grew into the other was not checked, as no proof is at hand";
  return `${theirs} has ${n(c.theirs)}, ${more} than the ${n(c.ours)} of ${ours}; ${growth}`;
}
