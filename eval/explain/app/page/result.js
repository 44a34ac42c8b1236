// One explained picture: its faces, numbered from 1, left to right, and the downloads.
import { $, element, save, showStatus } from "/page/dom.js";
import { showFace } from "/page/face.js";
import { send } from "/page/server.js";

let result = null;

export function summary(answer) {
  if (answer.faces.length === 0) return "no face found";
  if (answer.faces.length === 1) return `${answer.faces[0].label} ${answer.faces[0].percent[answer.faces[0].label]}`;
  return `${answer.faces.length + answer.left_out.length} faces`;
}

export function showResult(chosen) {
  result = chosen;
  const { answer, error, name } = result, faces = answer ? answer.faces : [];
  const many = answer && faces.length + answer.left_out.length > 1;
  $("result").hidden = false;
  $("name").textContent = name;
  $("count").textContent = error || countText(answer);
  $("count").classList.toggle("warning", Boolean(error));
  $("panel").hidden = $("face").hidden = faces.length === 0;
  $("json").hidden = !answer;
  $("several").hidden = !answer || faces.length === 1 && !many;
  $("faces").hidden = !many;
  if (answer) drawOverview(answer, name);
  if (faces.length) selectFace(0);
}

function countText({ faces, left_out: leftOut }) {
  if (faces.length === 0) return "No face was found in this picture.";
  if (faces.length + leftOut.length === 1) return "";
  if (leftOut.length === 0) return `${faces.length} faces, numbered from left to right.`;
  return `${faces.length + leftOut.length} faces were found. The ${faces.length} largest are explained, numbered from left to right; ` +
    `${leftOut.length} smaller ones are left out (dashed).`;
}

function drawOverview({ faces, left_out: leftOut, overview }, name) {
  $("whole").src = overview;
  $("whole").alt = `${name}: ${faces.length ? "the picture with a numbered box on each face" : "no face found"}`;
  $("overview").replaceChildren($("whole"), ...leftOut.map((box) => drawBox(box, { class: "left-out" })),
    ...faces.map((face, place) => {
      const box = drawBox(face.box, { "data-number": place + 1 });
      box.onclick = () => selectFace(place); // the buttons beside it do the same for the keyboard
      return box;
    }));
  $("faces").replaceChildren(...faces.map((face, place) => {
    const text = `${place + 1} ${face.label} ${face.percent[face.label].replace(" ", "\u00a0")}`;
    const button = element("button", { type: "button" }, element("img", { src: face.picture, alt: "" }), text);
    button.onclick = () => selectFace(place);
    return element("li", {}, button);
  }));
}

function drawBox([x0, y0, x1, y1], attributes) {
  const box = element("span", { "aria-hidden": "true", ...attributes });
  Object.assign(box.style, { left: `${100 * x0}%`, top: `${100 * y0}%`, width: `${100 * (x1 - x0)}%`, height: `${100 * (y1 - y0)}%` });
  return box;
}

function selectFace(number) {
  [...$("faces").querySelectorAll("button")].forEach((button, place) => button.setAttribute("aria-pressed", place === number));
  $("overview").querySelectorAll("[data-number]").forEach((box) =>
    box.classList.toggle("chosen", Number(box.dataset.number) === number + 1));
  showFace(result.answer.faces[number], number + 1, result.answer.faces.length > 1);
}

const stem = (name) => name.replace(/\.[^.]*$/, "") || name;

$("json").onclick = () => {
  const text = JSON.stringify(result.answer.document, null, 1);
  save(new Blob([text, "\n"], { type: "application/json" }), `${stem(result.name)}.json`);
};
$("panel").onclick = async () => {
  const { blob, name } = result;
  showStatus("Drawing the panel ...");
  try {
    save(await (await send("/panel.png", blob)).blob(), `${stem(name)}.png`);
    showStatus(`The panel of ${name} is downloaded.`);
  } catch (error) {
    showStatus(error.message, true);
  }
};
