// What a browser can do better than a reload. Without this file every form but the canvas works too.
"use strict";

// --- answers without a reload: the same form, the same page, only its answer is taken over ---------

let asked = null;

async function ask(form, { scroll = true } = {}) {
  const answer = document.getElementById("answer");
  asked?.abort();
  const mine = (asked = new AbortController());
  answer.setAttribute("aria-busy", "true");
  try {
    const body = new FormData(form);
    const headers = { accept: "text/html" };
    const reply = await fetch(form.action, { method: "POST", headers, body, signal: mine.signal });
    const text = await reply.text();
    const isPage = reply.headers.get("content-type")?.startsWith("text/html");
    const page = isPage ? new DOMParser().parseFromString(text, "text/html") : null;
    if (page?.getElementById("answer")) show(page, form, answer);
    else complain(answer, told(text) ?? `The server answered ${reply.status}.`);
  } catch (fault) {
    if (fault.name === "AbortError") return;
    complain(answer, `The server did not answer: ${fault.message}`);
  }
  if (mine !== asked) return;
  answer.removeAttribute("aria-busy");
  if (scroll && !form.contains(document.querySelector("[aria-invalid=true]"))) {
    answer.parentElement.scrollIntoView({ block: "nearest" });
  }
}

function show(page, form, answer) {
  answer.replaceChildren(...page.getElementById("answer").childNodes);
  const renewed = "renew" in form.dataset && page.getElementById(form.id);
  if (!renewed) return;
  const focused = document.activeElement;
  const inside = form.contains(focused);
  form.replaceChildren(...renewed.childNodes);
  const faulty = form.querySelector("[aria-invalid=true]");
  const same = document.getElementById(focused.id) ?? form.querySelector("button");
  (faulty ?? (inside ? same : null))?.focus();
}

function complain(answer, text) {
  const line = document.createElement("p");
  line.className = "error";
  line.setAttribute("role", "alert");
  line.textContent = text;
  answer.replaceChildren(line);
}

function told(text) {
  try {
    return JSON.parse(text).error;
  } catch {
    return undefined;
  }
}

document.addEventListener("submit", (event) => {
  if (!("answer" in event.target.dataset) || event.submitter?.value === "csv") return;
  event.preventDefault();
  ask(event.target);
});

document.addEventListener("change", (event) => {
  if ("send" in event.target.dataset && event.target.files.length) event.target.form.requestSubmit();
});

// --- the canvas: a pen for the mouse, a finger and the keyboard ------------------------------------

function drawing(section) {
  const canvas = section.querySelector("canvas");
  const form = section.querySelector("form");
  const file = form.querySelector("input[type=file]");
  const darkInk = form.querySelector("[data-dark-ink]");
  const width = Number(canvas.dataset.width);
  const height = Number(canvas.dataset.height);
  const scale = Math.ceil(280 / Math.max(width, height));
  canvas.width = width * scale;
  canvas.height = height * scale;
  const ink = document.createElement("canvas"); // the drawing; the canvas also shows the pen
  ink.width = canvas.width;
  ink.height = canvas.height;
  const pen = ink.getContext("2d");
  const seen = canvas.getContext("2d");
  const at = { x: canvas.width / 2, y: canvas.height / 2 };
  let down = false;
  let keyed = false;
  let drawn = null; // the box in which the pen was, or null

  const ground = () => (darkInk.checked ? "#fff" : "#000");

  function wipe() {
    pen.fillStyle = ground();
    pen.fillRect(0, 0, ink.width, ink.height);
    down = false;
    drawn = null;
    file.value = "";
    draw();
  }

  function draw() {
    seen.drawImage(ink, 0, 0);
    if (!keyed) return;
    seen.beginPath();
    seen.arc(at.x, at.y, scale, 0, 7);
    seen.strokeStyle = seen.fillStyle = "#14b8a6";
    seen.lineWidth = 2;
    down ? seen.fill() : seen.stroke();
  }

  function move(x, y) {
    const from = { ...at };
    at.x = Math.min(Math.max(x, 0), canvas.width);
    at.y = Math.min(Math.max(y, 0), canvas.height);
    if (down) {
      drawn ??= { left: at.x, top: at.y, right: at.x, bottom: at.y };
      drawn.left = Math.min(drawn.left, at.x);
      drawn.top = Math.min(drawn.top, at.y);
      drawn.right = Math.max(drawn.right, at.x);
      drawn.bottom = Math.max(drawn.bottom, at.y);
      pen.strokeStyle = darkInk.checked ? "#000" : "#fff";
      pen.lineWidth = 0.085 * Math.min(canvas.width, canvas.height);
      pen.lineCap = pen.lineJoin = "round";
      pen.beginPath();
      pen.moveTo(from.x, from.y);
      pen.lineTo(at.x, at.y);
      pen.stroke();
    }
    draw();
  }

  async function send(how) {
    const answer = document.getElementById("answer");
    if (!drawn) return complain(answer, "Draw something first: the canvas is empty.");
    const small = document.createElement("canvas");
    small.width = width;
    small.height = height;
    const context = small.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.fillStyle = ground();
    context.fillRect(0, 0, width, height);
    // Into the middle, where models are taught to look: people draw anywhere.
    const x = (width * (1 - (drawn.left + drawn.right) / ink.width)) / 2;
    const y = (height * (1 - (drawn.top + drawn.bottom) / ink.height)) / 2;
    context.drawImage(ink, x, y, width, height);
    const blob = await new Promise((done) => small.toBlob(done, "image/png"));
    const files = new DataTransfer();
    files.items.add(new File([blob], "drawing.png", { type: "image/png" }));
    file.files = files.files;
    ask(form, how);
  }

  function place(event, how) {
    const box = canvas.getBoundingClientRect();
    how(((event.clientX - box.left) * canvas.width) / box.width,
        ((event.clientY - box.top) * canvas.height) / box.height);
  }

  canvas.addEventListener("pointerdown", (event) => {
    keyed = down = false;
    place(event, move);
    down = true;
    place(event, move);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => down && !keyed && place(event, move));
  canvas.addEventListener("pointerup", () => {
    if (keyed || !down) return;
    down = false;
    send({ scroll: false });
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step && event.key !== " " && event.key !== "Escape") return;
    event.preventDefault();
    keyed = true;
    if (event.key === "Escape") return wipe();
    if (step) return move(at.x + step[0] * scale, at.y + step[1] * scale);
    down = !down;
    move(at.x, at.y);
    if (!down) send({ scroll: false });
  });
  canvas.addEventListener("blur", () => {
    keyed = down = false;
    draw();
  });
  form.querySelector("[data-wipe]").addEventListener("click", wipe);
  darkInk.addEventListener("change", wipe);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    event.stopPropagation();
    send();
  });
  section.hidden = false;
  wipe();
}

document.querySelectorAll(".draw").forEach(drawing);
