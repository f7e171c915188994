// The worker that hashes one file: in pieces, so that a file of any size needs
// the same little memory. To cancel, end the worker.
"use strict";

importScripts("sha256.umd.min.js");

const piece = 4 << 20; // two pieces are in memory: one is read while one is hashed

onmessage = async ({ data: file }) => {
  try {
    const hasher = await hashwasm.createSHA256();
    hasher.init();
    let next = read(file, 0);
    for (let at = 0; at < file.size; ) {
      const bytes = new Uint8Array(await next);
      if (bytes.length === 0) throw new Error("the file became shorter");
      at += bytes.length;
      if (at < file.size) next = read(file, at);
      hasher.update(bytes);
      postMessage({ done: at });
    }
    postMessage({ sha256: hasher.digest("hex") });
  } catch (err) {
    postMessage({ error: String(err && err.message || err), compile: err instanceof WebAssembly.CompileError });
  }
};

function read(file, at) {
  const bytes = file.slice(at, Math.min(at + piece, file.size)).arrayBuffer();
  bytes.catch(() => {}); // reported where it is awaited
  return bytes;
}
