"use strict";
const $ = (id) => document.getElementById(id);
let faces = [], current = 0, kept = new Set(), asked = 0;

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function say(text, wrong = false) {
  $("status").textContent = text;
  $("status").className = wrong ? "wrong" : "";
}

async function explain(blob) {
  const mine = ++asked;
  say("Looking ...");
  $("result").hidden = true;
  try {
    const answer = await fetch("/explain", { method: "POST", body: blob });
    const found = await answer.json();
    if (mine !== asked) return;
    if (found.error) { say(found.error, true); return; }
    faces = found.faces;
    say(faces.length === 1 ? "One face." : `${faces.length} faces.`);
    $("result").hidden = false;
    choose(0);
  } catch (error) {
    if (mine === asked) say("The server does not answer; is it still running?", true);
  }
}

function choose(number) {
  current = number;
  kept = new Set();
  $("faces").replaceChildren(...(faces.length < 2 ? [] : faces.map((face, place) => {
    const button = element("button", `face ${place}: ${face.label}`, { type: "button", "aria-pressed": place === number });
    button.onclick = () => choose(place);
    return button;
  })));
  const face = faces[number];
  const cams = Object.keys(face.maps).filter((name) => name.startsWith("cam "));
  options("class", cams.map((name) => name.slice(4)), face.label);
  options("layer", Object.keys(face.maps).filter((name) => name.startsWith("attention ")).map((name) => name.slice(10)), face.layer);
  const cam = document.querySelector("[name=kind][value=cam]");
  cam.disabled = $("class").disabled = cams.length === 0;
  if (cams.length === 0) document.querySelector("[name=kind][value=attention]").checked = true;
  $("picture").src = face.picture;
  $("label").textContent = `${face.label} ${face.probabilities[face.label].toFixed(2)}`;
  $("words").replaceChildren(...face.words.map((text) =>
    element("li", text, text.startsWith("careful") ? { class: "careful" } : {})));
  $("calibrated").textContent = face.calibrated ? "Probabilities, calibrated" : "Probabilities, not calibrated";
  $("probabilities").replaceChildren(...Object.entries(face.probabilities).map(([label, value]) => {
    const row = element("tr"), bar = element("td");
    const meter = element("meter", undefined, { min: 0, max: 1, value });
    bar.append(meter);
    row.append(element("th", label, { scope: "row" }), bar, element("td", value.toFixed(2)));
    return row;
  }));
  show();
}

function options(id, values, chosen) {
  $(id).replaceChildren(...values.map((value) => element("option", value, { value })));
  $(id).value = chosen;
}

function shownMap() {
  const kind = document.querySelector("[name=kind]:checked").value;
  return kind === "cam" ? `cam ${$("class").value}` : `attention ${$("layer").value}`;
}

function show() {
  const face = faces[current], name = shownMap();
  const subject = name.startsWith("cam ") ? name.slice(4) : face.label;
  $("map").src = face.maps[name];
  $("map").style.opacity = $("opacity").value / 100;
  const rows = [...(face.tables[name] || [])].sort((one, other) => other.lift - one.lift);
  $("units").tBodies[0].replaceChildren(...rows.map((row) => {
    const line = element("tr", undefined, { tabindex: 0, "data-au": row.au });
    if (face.expected[subject].includes(row.au)) line.className = "own";
    line.append(element("th", `AU${row.au} ${row.name}`, { scope: "row" }), element("td", `${(100 * row.share).toFixed(1)} %`),
      element("td", `${(100 * row.uniform).toFixed(1)} %`), element("td", row.lift.toFixed(1)));
    line.onmouseenter = line.onfocus = () => highlight(row.au);
    line.onmouseleave = line.onblur = () => highlight();
    line.onclick = () => { kept.has(row.au) ? kept.delete(row.au) : kept.add(row.au); highlight(row.au); };
    line.onkeydown = (event) => { if (event.key === "Enter") line.onclick(); };
    return line;
  }));
  if (rows.length === 0) {
    const line = element("tr");
    line.append(element("td", "no landmarks were found on this face", { colspan: 4 }));
    $("units").tBodies[0].append(line);
  }
  highlight();
}

function highlight(pointed) {
  const regions = faces[current].regions, wanted = new Set(kept);
  if (pointed !== undefined) wanted.add(pointed);
  $("regions").replaceChildren(...[...wanted].flatMap((au) => (regions[au] || []).map((one) => {
    const ellipse = document.createElementNS("http://www.w3.org/2000/svg", "ellipse");
    const values = { cx: one.x, cy: one.y, rx: one.rx, ry: one.ry, "data-au": au, transform: `rotate(${one.angle} ${one.x} ${one.y})` };
    for (const [key, value] of Object.entries(values)) ellipse.setAttribute(key, value);
    return ellipse;
  })));
  for (const line of $("units").tBodies[0].rows) line.classList.toggle("kept", kept.has(Number(line.dataset.au)));
}

let stream = null;
function closeCamera() {
  if (stream) stream.getTracks().forEach((track) => track.stop());
  stream = null;
  $("camera").hidden = true;
}

$("file").onchange = () => { if ($("file").files[0]) explain($("file").files[0]); $("file").value = ""; };
$("drop").ondragover = (event) => { event.preventDefault(); $("drop").classList.add("over"); };
$("drop").ondragleave = () => $("drop").classList.remove("over");
$("drop").ondrop = (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  if (event.dataTransfer.files[0]) explain(event.dataTransfer.files[0]);
};
$("webcam").onclick = async () => {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: true });
    $("video").srcObject = stream;
    $("camera").hidden = false;
  } catch (error) {
    say("There is no webcam, or the browser may not use it.", true);
  }
};
$("shoot").onclick = () => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [$("video").videoWidth, $("video").videoHeight];
  canvas.getContext("2d").drawImage($("video"), 0, 0);
  canvas.toBlob((blob) => explain(blob), "image/png");
};
$("close").onclick = closeCamera;
$("opacity").oninput = () => { $("map").style.opacity = $("opacity").value / 100; };
for (const id of ["class", "layer"]) {
  $(id).onchange = () => {
    document.querySelector(`[name=kind][value=${id === "class" ? "cam" : "attention"}]`).checked = true;
    show();
  };
}
document.querySelectorAll("[name=kind]").forEach((button) => { button.onchange = show; });
fetch("/about").then((answer) => answer.json()).then((about) => {
  const right = about.accuracy === null || about.accuracy === undefined ? "" : `, right on ${(100 * about.accuracy).toFixed(0)} % of its validation faces`;
  $("about").textContent = `${about.method}, trained on ${about.dataset} ${about.variant === "au" ? "with" : "without"} AU guidance${right}.`;
});
