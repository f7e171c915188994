// The ceremonies that only a browser can do: make a passkey with an invitation,
// sign in with one, and touch it again for a form that changes something. An invitation comes in the address's
// fragment, which browsers keep to themselves, and is wiped from there at once.
"use strict";
(() => {
  const bytes = (s) => Uint8Array.from(atob(s.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (b) => btoa(String.fromCharCode(...new Uint8Array(b))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  const ask = async (path, body) => {
    const r = await fetch("/gate/" + path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    const answer = await r.json().catch(() => ({}));
    if (!r.ok) throw new Error(answer.detail || "The server did not answer as expected.");
    return answer;
  };

  const credentials = (list) => (list || []).map((c) => ({ ...c, id: bytes(c.id) }));

  const make = async (token) => {
    const { ceremony, options } = await ask("enrol/begin", { token });
    const o = options.publicKey;
    const made = await navigator.credentials.create({ publicKey: {
      ...o, challenge: bytes(o.challenge), user: { ...o.user, id: bytes(o.user.id) }, excludeCredentials: credentials(o.excludeCredentials) } });
    const r = made.response;
    await ask("enrol/finish", { ceremony, credential: {
      id: made.id, rawId: text(made.rawId), type: made.type, authenticatorAttachment: made.authenticatorAttachment || undefined,
      clientExtensionResults: made.getClientExtensionResults(),
      response: { attestationObject: text(r.attestationObject), clientDataJSON: text(r.clientDataJSON), transports: r.getTransports ? r.getTransports() : [] } } });
  };

  const answer = async ({ ceremony, options }) => {
    const o = options.publicKey;
    const got = await navigator.credentials.get({ publicKey: { ...o, challenge: bytes(o.challenge), allowCredentials: credentials(o.allowCredentials) } });
    const r = got.response;
    return { ceremony, credential: {
      id: got.id, rawId: text(got.rawId), type: got.type, authenticatorAttachment: got.authenticatorAttachment || undefined,
      clientExtensionResults: got.getClientExtensionResults(),
      response: { authenticatorData: text(r.authenticatorData), clientDataJSON: text(r.clientDataJSON), signature: text(r.signature), userHandle: r.userHandle ? text(r.userHandle) : null } } };
  };

  const use = async () => ask("sign-in/finish", await answer(await ask("sign-in/begin", {})));

  const told = (e) => e.name === "NotAllowedError" ? "Your browser or authenticator ended this, or it took too long. Try again."
    : e.name === "InvalidStateError" ? "This authenticator has a passkey for you already. Sign in with it."
    : e.message;

  // The touch is asked for when the form is sent, and is good for a minute, once,
  // for this action on this object only.
  for (const form of document.querySelectorAll("form[data-touch]")) {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const status = form.querySelector("[role=status]");
      try {
        if (!window.PublicKeyCredential) throw new Error("This browser can not use passkeys here (they need https and a recent browser).");
        status.textContent = "Touch your passkey…";
        form.elements.touch.value = JSON.stringify(await answer(await ask("touch", { action: form.dataset.touch, object: form.dataset.object })));
        status.textContent = "Sending…";
        form.submit();
      } catch (e) {
        status.textContent = told(e);
      }
    });
  }

  for (const box of document.querySelectorAll("[data-passkey]")) {
    const button = box.querySelector("button");
    const status = box.querySelector("[role=status]");
    const input = box.querySelector("#token");
    if (!window.PublicKeyCredential) {
      status.textContent = "This browser can not use passkeys here (they need https and a recent browser).";
      continue;
    }
    if (input && location.hash.length > 1) {
      input.value = decodeURIComponent(location.hash.slice(1));
      history.replaceState(null, "", location.pathname);
    }
    button.hidden = false;
    const run = async (event) => {
      event.preventDefault();
      status.textContent = "Follow your browser…";
      try {
        await (input ? make(input.value.trim()) : use());
        location.assign(box.dataset.then);
      } catch (e) {
        status.textContent = told(e);
      }
    };
    if (input) box.addEventListener("submit", run); else button.addEventListener("click", run);
  }
})();
