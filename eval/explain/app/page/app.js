"use strict";
const $ = (id) => document.getElementById(id);
let faces = [], current = 0, pinned = new Set(), requests = 0;

function element(name, text, attributes = {}) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function showStatus(text, isError = false) {
  $("status").textContent = text;
  $("status").className = isError ? "error" : "";
}

async function explain(blob) {
  const request = ++requests;
  showStatus("Analysing the image ...");
  $("result").hidden = true;
  try {
    const response = await fetch("/explain", { method: "POST", body: blob });
    const answer = await response.json();
    if (request !== requests) return;
    if (answer.error) { showStatus(answer.error, true); return; }
    faces = answer.faces;
    showStatus(faces.length === 1 ? "One face found." : `${faces.length} faces found.`);
    $("result").hidden = false;
    selectFace(0);
  } catch (error) {
    if (request === requests) showStatus("The server does not respond. Is it still running?", true);
  }
}

function selectFace(number) {
  current = number;
  pinned = new Set();
  $("faces").replaceChildren(...(faces.length < 2 ? [] : faces.map((face, place) => {
    const button = element("button", `face ${place}: ${face.label}`, { type: "button", "aria-pressed": place === number });
    button.onclick = () => selectFace(place);
    return button;
  })));
  const face = faces[number];
  const cams = Object.keys(face.maps).filter((name) => name.startsWith("cam "));
  fillSelect("class", cams.map((name) => name.slice(4)), face.label);
  fillSelect("layer", Object.keys(face.maps).filter((name) => name.startsWith("attention ")).map((name) => name.slice(10)), face.layer);
  const camButton = document.querySelector("[name=kind][value=cam]");
  camButton.disabled = $("class").disabled = cams.length === 0;
  if (cams.length === 0) document.querySelector("[name=kind][value=attention]").checked = true;
  $("picture").src = face.picture;
  $("label").textContent = `${face.label} ${face.probabilities[face.label].toFixed(2)}`;
  $("words").replaceChildren(...face.words.map((text) =>
    element("li", text, text.startsWith("warning") ? { class: "warning" } : {})));
  $("calibrated").textContent = face.calibrated ? "Probabilities, calibrated" : "Probabilities, not calibrated";
  $("probabilities").replaceChildren(...Object.entries(face.probabilities).map(([label, value]) => {
    const row = element("tr"), bar = element("td");
    const meter = element("meter", undefined, { min: 0, max: 1, value });
    bar.append(meter);
    row.append(element("th", label, { scope: "row" }), bar, element("td", value.toFixed(2)));
    return row;
  }));
  showMap();
}

function fillSelect(id, values, selected) {
  $(id).replaceChildren(...values.map((value) => element("option", value, { value })));
  $(id).value = selected;
}

function selectedMap() {
  const kind = document.querySelector("[name=kind]:checked").value;
  return kind === "cam" ? `cam ${$("class").value}` : `attention ${$("layer").value}`;
}

function showMap() {
  const face = faces[current], name = selectedMap();
  const expression = name.startsWith("cam ") ? name.slice(4) : face.label;
  $("map").src = face.maps[name];
  $("map").style.opacity = $("opacity").value / 100;
  const rows = [...(face.tables[name] || [])].sort((a, b) => b.lift - a.lift);
  $("units").tBodies[0].replaceChildren(...rows.map((row) => {
    const au = row.aus[0];  // stands for the row's AUs, whose regions coincide
    const line = element("tr", undefined, { tabindex: 0, "data-au": au });
    if (row.aus.some((each) => face.expected[expression].includes(each))) line.className = "expected";
    line.append(element("th", `AU${row.aus.join("/")} ${row.names.join(", ")}`, { scope: "row" }), element("td", `${(100 * row.share).toFixed(1)} %`),
      element("td", `${(100 * row.uniform).toFixed(1)} %`), element("td", row.lift.toFixed(1)));
    line.onmouseenter = line.onfocus = () => highlight(au);
    line.onmouseleave = line.onblur = () => highlight();
    line.onclick = () => { pinned.has(au) ? pinned.delete(au) : pinned.add(au); highlight(au); };
    line.onkeydown = (event) => { if (event.key === "Enter") line.onclick(); };
    return line;
  }));
  if (rows.length === 0) {
    const line = element("tr");
    line.append(element("td", "No landmarks were found on this face.", { colspan: 4 }));
    $("units").tBodies[0].append(line);
  }
  highlight();
}

function highlight(hovered) {
  const regions = faces[current].regions, outlined = new Set(pinned);
  if (hovered !== undefined) outlined.add(hovered);
  $("regions").replaceChildren(...[...outlined].flatMap((au) => (regions[au] || []).map((region) => {
    const ellipse = document.createElementNS("http://www.w3.org/2000/svg", "ellipse");
    const values = { cx: region.x, cy: region.y, rx: region.rx, ry: region.ry, "data-au": au, transform: `rotate(${region.angle} ${region.x} ${region.y})` };
    for (const [key, value] of Object.entries(values)) ellipse.setAttribute(key, value);
    return ellipse;
  })));
  for (const line of $("units").tBodies[0].rows) line.classList.toggle("pinned", pinned.has(Number(line.dataset.au)));
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
    showStatus("There is no webcam, or the browser is not allowed to use it.", true);
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
    showMap();
  };
}
document.querySelectorAll("[name=kind]").forEach((button) => { button.onchange = showMap; });
fetch("/about").then((response) => response.json()).then((about) => {
  const accuracy = about.accuracy === null || about.accuracy === undefined ? "" : `, ${(100 * about.accuracy).toFixed(0)} % correct on its validation faces`;
  $("about").textContent = `${about.method}, trained on ${about.dataset} ${about.variant === "au" ? "with" : "without"} AU guidance${accuracy}.`;
});
