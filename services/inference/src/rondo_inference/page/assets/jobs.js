// Batch jobs: files go to the store with a bar, and the list of jobs is kept fresh.
"use strict";

const MARGIN = 64 * 1024; // what a form has beside its file
const PAUSE = 1000;

// --- a file that is too large to be answered at once becomes a job ---------------------------------

function tooLarge(form) {
  const most = Number(document.querySelector("[data-most-bytes]")?.dataset.mostBytes) - MARGIN;
  const files = [...form.querySelectorAll("input[type=file]")].flatMap((input) => [...input.files]);
  return files.reduce((sum, file) => sum + file.size, 0) > most ? files : null;
}

function refuse(files) {
  const size = files.reduce((sum, file) => sum + file.size, 0);
  const most = Number(document.querySelector("[data-most-bytes]").dataset.mostBytes);
  const text = `${megabytes(size)} are too many: this server takes ${megabytes(most)} at once, and has no store for jobs.`;
  complain(document.getElementById("answer"), text);
}

function megabytes(size) {
  return `${(size / 1048576).toLocaleString("en", { maximumSignificantDigits: 3 })} MB`;
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.id === "new-job") {
    event.preventDefault();
    sendAll([...form.elements.file.files]);
  } else if ("job" in form.dataset) {
    event.preventDefault();
    act(form);
  } else if ("answer" in form.dataset) {
    const files = tooLarge(form);
    if (!files) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    document.getElementById("new-job") ? sendAll(files) : refuse(files);
  }
}, true);

// --- sending ---------------------------------------------------------------------------------------

let sending = null;

async function sendAll(files) {
  const form = document.getElementById("new-job");
  const status = form.querySelector("[role=status]");
  if (sending || !files.length) return;
  form.parentElement.scrollIntoView({ block: "nearest" });
  sending = { request: null, stopped: false };
  busy(form, true);
  let job = null;
  try {
    job = await made(form.action, files);
    await put(job.uploads, files, form.querySelector("progress"), status);
    await posted(`${jobsAt()}/${job.job_id}/start`);
    status.textContent = `${named(files)} is sent. The job goes on without this page.`;
    form.reset();
  } catch (fault) {
    const why = sending.stopped ? "Stopped" : `Not sent: ${fault.message}`;
    const left = job ? await deleted(job.job_id) : "nothing is kept";
    status.textContent = `${why}; ${left}.`;
  }
  sending = null;
  busy(form, false);
  refresh();
}

/** Delete a job that was not sent whole; return what is left of it. */
async function deleted(id) {
  try {
    await posted(`${jobsAt()}/${id}/delete`);
    return "nothing is kept";
  } catch (fault) {
    return `its job stays in the list, since it was not deleted: ${fault.message}`;
  }
}

function busy(form, is) {
  form.querySelector(".sending").hidden = !is;
  form.querySelector("button:not([data-stop])").disabled = is;
}

function named(files) {
  return files.length === 1 ? files[0].name : `${files.length} files`;
}

function jobsAt() {
  return document.getElementById("jobs").dataset.jobs.split("?")[0];
}

async function made(address, files) {
  const plain = files.map((file) => ({
    name: file.name.replace(/[^A-Za-z0-9._-]+/g, "_").slice(-100).replace(/^[._-]+/, "") || "input",
    size: file.size,
  }));
  const reply = await fetch(address, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ files: plain }),
  });
  const text = await reply.text();
  if (!reply.ok) throw new Error(told(text) ?? `the server answered ${reply.status}`);
  return JSON.parse(text);
}

async function posted(address) {
  const reply = await fetch(address, { method: "POST" });
  if (!reply.ok) throw new Error(alertOf(await reply.text()) ?? `the server answered ${reply.status}`);
  return reply.text();
}

function alertOf(text) {
  return new DOMParser().parseFromString(text, "text/html").querySelector("[role=alert]")?.textContent;
}

async function put(uploads, files, bar, status) {
  const all = files.reduce((sum, file) => sum + file.size, 0);
  let before = 0;
  for (const [at, upload] of uploads.entries()) {
    await putOne(upload, files[at], (sent) => {
      bar.value = all ? (before + sent) / all : 1;
      status.textContent = `${Math.floor(100 * bar.value)} % of ${megabytes(all)} is sent.`;
    });
    before += files[at].size;
  }
}

function putOne(upload, file, progress) {
  return new Promise((done, failed) => {
    if (sending.stopped) return failed(new Error("stopped"));
    const request = (sending.request = new XMLHttpRequest());
    request.open("PUT", upload.url);
    for (const [name, value] of Object.entries(upload.headers)) {
      // The browser says the length itself.
      if (name.toLowerCase() !== "content-length") request.setRequestHeader(name, value);
    }
    request.upload.onprogress = (event) => progress(event.loaded);
    request.onload = () => request.status === 200 ? done() : failed(new Error(`the store answered ${request.status}`));
    request.onerror = () => failed(new Error("the store did not answer"));
    request.onabort = () => failed(new Error("stopped"));
    request.send(file);
  });
}

document.querySelector("[data-stop]")?.addEventListener("click", () => {
  if (!sending) return;
  sending.stopped = true;
  sending.request?.abort();
});

window.addEventListener("beforeunload", (event) => sending && event.preventDefault());

// --- the list --------------------------------------------------------------------------------------

let timer = null;

async function act(form) {
  form.querySelector("button").disabled = true;
  try {
    await posted(form.action);
  } catch (fault) {
    const line = document.createElement("p");
    form.closest("li").append(line);
    return complain(line, fault.message);
  }
  await refresh();
}

async function refresh() {
  const list = document.getElementById("jobs");
  if (!list) return;
  clearTimeout(timer);
  try {
    const text = await (await fetch(list.dataset.jobs)).text();
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("jobs");
    if (fresh) renew(list, fresh);
    else complain(list, alertOf(text) ?? told(text) ?? "The jobs cannot be listed now.");
  } catch {
    list.toggleAttribute("data-moves", true); // it is asked again
  }
  if (list.hasAttribute("data-moves")) timer = setTimeout(refresh, PAUSE);
}

function renew(list, fresh) {
  list.toggleAttribute("data-moves", fresh.hasAttribute("data-moves"));
  if (list.innerHTML === fresh.innerHTML) return;
  const focused = list.contains(document.activeElement) && document.activeElement.id;
  const open = [...list.querySelectorAll("details[open]")].map((one) => one.id);
  list.replaceChildren(...fresh.childNodes);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focused) (document.getElementById(focused) ?? list.querySelector("a, button"))?.focus();
}

refresh();
