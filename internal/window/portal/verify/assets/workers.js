// Talking to the two workers. Both are found beside this file.

const patience = 60_000; // milliseconds that one judgement may take

// hash gives the SHA-256 of a file in hex. onProgress gets the bytes done;
// aborting the signal ends the work at once.
export function hash(file, onProgress, signal) {
  const worker = new Worker(new URL("hash.js", import.meta.url));
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
    worker.onmessage = ({ data }) => {
      if (data.sha256) resolve(data.sha256);
      else if (data.error) reject(new Error(data.compile ? noWasm : `The file could not be read (${data.error}): choose it again, and leave it unchanged while it is read.`));
      else onProgress(data.done);
    };
    worker.onerror = () => reject(new Error("The program that hashes files did not load: reload the page, or run “clerestory verify FILE”."));
    worker.postMessage(file);
  }).finally(() => worker.terminate());
}

const noWasm = "This browser does not run WebAssembly here: use another browser, or run “clerestory verify FILE”.";

// Judge is the verifier. It starts when it is first asked, and again after it
// had to be ended.
export class Judge {
  #worker = null;
  #waiting = new Map();
  #last = 0;

  // ask gives the answer of one of the verifier's functions. A failure is an
  // answer too: { code, error }.
  ask(call, ...args) {
    this.#worker ??= this.#start();
    const id = ++this.#last;
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#end("The verification took too long and was stopped: the bundle is not a proper one."), patience);
      this.#waiting.set(id, (answer) => { clearTimeout(timer); resolve(answer); });
      this.#worker.postMessage({ id, call, args });
    });
  }

  #start() {
    const worker = new Worker(new URL("judge.js", import.meta.url));
    worker.onmessage = ({ data }) => {
      if (data.ready !== undefined) document.documentElement.dataset.verifierReady = data.ready;
      else if (data.failed) this.#end(/WebAssembly|wasm/i.test(data.failed) ? noWasm : "The verifier did not load: reload the page, or run “clerestory verify FILE”.");
      else if (data.ended) this.#end("The verifier stopped: reload the page, or run “clerestory verify FILE”.");
      else {
        this.#waiting.get(data.id)?.(data.answer);
        this.#waiting.delete(data.id);
      }
    };
    worker.onerror = () => this.#end("The verifier did not load: reload the page, or run “clerestory verify FILE”.");
    return worker;
  }

  // end answers everybody who waits, so that nobody waits for ever.
  #end(error) {
    this.#worker?.terminate();
    this.#worker = null;
    for (const answer of this.#waiting.values()) answer({ code: "", error });
    this.#waiting.clear();
  }
}

// readText fetches text, and gives up when it is longer than it may be or does
// not come in time. Nothing that identifies the visitor is sent.
export async function readText(url, most, signal) {
  const limits = [AbortSignal.timeout(15_000)];
  if (signal) limits.push(signal);
  const response = await fetch(url, { cache: "no-store", credentials: "omit", referrerPolicy: "no-referrer", signal: AbortSignal.any(limits) });
  if (!response.ok) throw Object.assign(new Error(`status ${response.status}`), { status: response.status });
  const parts = [];
  let length = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > most) { reader.cancel(); throw new Error(`more than ${most} bytes`); }
    parts.push(value);
  }
  return new Blob(parts).text();
}
