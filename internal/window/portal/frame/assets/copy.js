// Puts a "Copy" button on whatever is meant to be taken away whole.
"use strict";
for (const box of document.querySelectorAll(".copied")) {
  if (!navigator.clipboard) break;
  const pre = box.querySelector("pre");
  const b = document.createElement("button");
  b.type = "button";
  b.className = "copy";
  b.textContent = "Copy";
  b.addEventListener("click", async () => {
    await navigator.clipboard.writeText(pre.textContent);
    b.textContent = "Copied";
    setTimeout(() => { b.textContent = "Copy"; }, 1500);
  });
  box.append(b);
}
