// Pictures come in here, one after another, and become a list of results.
import { connectCamera } from "/page/camera.js";
import { $, element, showStatus } from "/page/dom.js";
import { showResult, summary } from "/page/result.js";
import { send } from "/page/server.js";

const FILM = /\.(mp4|avi|mov|mkv|webm|m4v|mpe?g)$/i;
const NAMED = 3; // files whose errors are shown at once
const results = [], waiting = [];
let megabytes = Infinity, running = false, batch = 0;

function add(pictures) {
  if (!running) batch = 0;
  batch += pictures.length;
  waiting.push(...pictures);
  if (!running && waiting.length) work();
}

async function work() {
  running = true;
  const first = results.length;
  while (waiting.length) {
    const picture = waiting.shift(), number = batch - waiting.length;
    showStatus(batch === 1 ? `Explaining ${picture.name} ...` : `Explaining ${number} of ${batch}: ${picture.name} ...`);
    const result = { ...picture, ...(await explain(picture)) };
    results.push(result);
    list(result);
    if (results.length === first + 1 || !results[first].answer && result.answer) select(result);
  }
  running = false;
  const done = results.slice(first), failed = done.filter((result) => result.error);
  const errors = failed.slice(0, NAMED).map(({ name, error }) => `${name}: ${error}`).join("; ");
  if (done.length === 1) showStatus(errors || `${done[0].name}: ${summary(done[0].answer)}.`, failed.length > 0);
  else if (failed.length) showStatus(`${done.length} pictures, ${failed.length} of them not explained: ${errors}${failed.length > NAMED ? "; ..." : ""}`, true);
  else showStatus(`${done.length} pictures are explained.`);
}

async function explain({ blob, name }) {
  if (blob.type.startsWith("video/") || FILM.test(name)) return { error: `this is a film; use: python -m eval.explain ${name}` };
  if (blob.size > megabytes * 1e6) return { error: `the file is larger than ${megabytes} MB; choose a smaller picture` };
  try {
    const response = await send(`/explain?name=${encodeURIComponent(name)}`, blob);
    return { answer: await response.json() };
  } catch (error) {
    return { error: error.message };
  }
}

function list(result) {
  const { answer, name } = result;
  const picture = answer ? element("img", { src: answer.overview, alt: "" }) : element("span", { class: "blank", "aria-hidden": "true" }, "✕");
  const said = element("span", { class: answer ? "answer" : "failed" }, answer ? summary(answer) : "not explained");
  result.button = element("button", { type: "button", "aria-pressed": "false" }, picture, element("span", {}, name), said);
  result.button.onclick = () => select(result);
  $("list").append(element("li", {}, result.button));
  $("list").hidden = results.length < 2;
  $("results").hidden = false;
}

function select(result) {
  for (const other of results) other.button.setAttribute("aria-pressed", other === result);
  showResult(result);
}

const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1).replace(/\.$/, "")}.`;

function addFiles(files) {
  add([...files].map((file) => ({ blob: file, name: file.name })));
}

$("file").onchange = () => { addFiles($("file").files); $("file").value = ""; };
document.ondragover = (event) => { event.preventDefault(); $("drop").classList.add("over"); };
document.ondragleave = (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); };
document.ondrop = (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  addFiles(event.dataTransfer.files);
};
connectCamera((blob, name) => add([{ blob, name }]));

function showSamples(names) {
  $("samples").replaceChildren(...names.map((name) => {
    const button = element("button", { type: "button" }, element("img", { src: `/samples/${name}.jpg`, alt: "" }), name);
    button.onclick = async () => {
      const response = await fetch(`/samples/${name}.jpg`).catch(() => null);
      if (response && response.ok) add([{ blob: await response.blob(), name: `drawn-${name}.jpg` }]);
      else showStatus("The server does not respond. Is it still running?", true);
    };
    return element("li", {}, button);
  }));
}

fetch("/about").then((response) => response.json()).then((about) => {
  const accuracy = about.accuracy === null ? "" : `, ${(100 * about.accuracy).toFixed(0)} % of its validation faces are classified correctly`;
  $("about").textContent = `${about.method}, trained on ${about.dataset} ${about.variant === "au" ? "with" : "without"} AU guidance${accuracy}.`;
  $("notes").replaceChildren(...about.notes.map((note) => element("li", {}, sentence(note))));
  $("notes").hidden = about.notes.length === 0;
  $("drawn").hidden = about.domain !== "photographs";
  megabytes = about.megabytes;
  showSamples(about.samples);
}).catch(() => showStatus("The server does not respond. Is it still running?", true));
