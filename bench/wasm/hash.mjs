// SHA-256 in one run, four ways, over the same pieces: MB/s and the ratio to the
// fastest. See README.md.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createHash } from "node:crypto";

const require = createRequire(import.meta.url);
const total = Number(process.argv[2] ?? 512) * 1e6;
const piece = new Uint8Array(4 << 20).map((_, i) => i * 31 + (i >> 8));

require("./wasm_exec.js");
const go = new Go();
const { instance } = await WebAssembly.instantiate(readFileSync("gohash.wasm"), go.importObject);
go.run(instance);

const hashwasm = require("../../internal/window/portal/verify/assets/sha256.umd.min.js");
const { sha256: noble } = await import("@noble/hashes/sha2.js");

const ways = {
  "hash-wasm (C as WebAssembly)": async () => {
    const h = await hashwasm.createSHA256();
    h.init();
    return [(b) => h.update(b), () => h.digest("hex")];
  },
  "@noble/hashes (JavaScript)": async () => {
    const h = noble.create();
    return [(b) => h.update(b), () => Buffer.from(h.digest()).toString("hex")];
  },
  "Go crypto/sha256 (WebAssembly)": async () => {
    goHash.reset();
    return [(b) => goHash.update(b), () => goHash.sum()];
  },
  "node:crypto (native, for scale)": async () => {
    const h = createHash("sha256");
    return [(b) => h.update(b), () => h.digest("hex")];
  },
};

const rows = [];
for (const [name, make] of Object.entries(ways)) {
  await run(make, 16e6); // warm: compilers have seen the code
  rows.push([name, ...await run(make, total)]);
}
const sums = new Set(rows.map((r) => r[2]));
if (sums.size !== 1) throw new Error("the ways disagree");
const candidates = rows.slice(0, 3);
const fastest = Math.max(...candidates.map((r) => r[1]));
for (const [name, rate] of rows) console.log(`${name.padEnd(38)} ${rate.toFixed(0).padStart(6)} MB/s  ${(rate / fastest).toFixed(2).padStart(5)} x`);

async function run(make, size) {
  const [update, sum] = await make();
  const began = performance.now();
  for (let at = 0; at < size; at += piece.length) update(piece.subarray(0, Math.min(piece.length, size - at)));
  const hex = sum();
  return [size / 1e3 / (performance.now() - began), hex];
}
process.exit(0);
