// The worker that judges: package verify as WebAssembly. It is a worker so that
// a bundle made to keep a verifier busy keeps no page busy, and can be ended.
"use strict";

importScripts("wasm_exec.js");

const ready = start();

async function start() {
  const began = performance.now();
  const go = new Go();
  const { instance } = await WebAssembly.instantiateStreaming(fetch("verify.wasm"), go.importObject);
  go.run(instance).then(() => postMessage({ ended: true }));
  if (!globalThis.clerestory) throw new Error("the verifier did not start");
  postMessage({ ready: Math.round(performance.now() - began) });
}

ready.catch((err) => postMessage({ failed: String(err && err.message || err) }));

onmessage = async ({ data: { id, call, args } }) => {
  try {
    await ready;
    postMessage({ id, answer: JSON.parse(clerestory[call](...args)) });
  } catch (err) {
    postMessage({ id, answer: { code: "", error: `the verifier failed: ${err && err.message || err}` } });
  }
};
