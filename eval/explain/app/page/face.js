// One explained face: its maps, the words, the probabilities and the table of action units.
import { $, element } from "/page/dom.js";

let face = null, kept = new Set();

export function showFace(chosen, number, many) {
  [face, kept] = [chosen, new Set()];
  const title = many ? `Face ${number}: ${face.label}` : face.label;
  const cams = Object.keys(face.maps).filter((name) => name.startsWith("cam ")).map((name) => name.slice(4));
  const layers = Object.keys(face.maps).filter((name) => name.startsWith("attention ")).map((name) => name.slice(10));
  fillSelect("class", cams, face.label);
  fillSelect("layer", layers, face.layer);
  kindButton("cam").disabled = $("class").disabled = cams.length === 0;
  if (cams.length === 0) kindButton("attention").checked = true;
  $("picture").src = face.picture;
  $("picture").alt = `${many ? `Face ${number}` : "The face"}, aligned`;
  $("label").textContent = `${title}, ${face.percent[face.label]}`;
  $("words").replaceChildren(...face.words.map((text) =>
    element("li", text.startsWith("warning") ? { class: "warning" } : {}, text)));
  $("calibrated").textContent = face.calibrated ? "Probabilities, calibrated" : "Probabilities, not calibrated";
  $("probabilities").tBodies[0].replaceChildren(...Object.entries(face.probabilities).map(([label, value]) => {
    const bar = element("span");
    bar.style.width = `${100 * value}%`;
    return element("tr", {}, element("th", { scope: "row" }, label),
      element("td", { "aria-hidden": "true" }, element("div", { class: "track" }, bar)), element("td", {}, face.percent[label]));
  }));
  showMap();
}

const kindButton = (kind) => document.querySelector(`[name=kind][value=${kind}]`);

function fillSelect(id, values, selected) {
  $(id).replaceChildren(...values.map((value) => element("option", { value }, value)));
  $(id).value = selected;
}

function shownMap() {
  return kindButton("cam").checked ? `cam ${$("class").value}` : `attention ${$("layer").value}`;
}

const shownExpression = () => (kindButton("cam").checked ? $("class").value : face.label);

function showMap() {
  const name = shownMap(), expected = face.expected[shownExpression()];
  $("map").src = face.maps[name];
  $("map").alt = kindButton("cam").checked ? `Class map of ${$("class").value}, laid over the face`
    : `Attention of layer ${$("layer").value}, laid over the face`;
  $("map").style.opacity = $("opacity").value / 100;
  const rows = [...(face.tables[name] || [])].sort((a, b) => b.lift - a.lift);
  $("units").tBodies[0].replaceChildren(...(rows.length ? rows.map((row) => unitRow(row, expected)) : [
    element("tr", {}, element("td", { colspan: 4 }, "No landmarks were found on this face."))]));
  outline();
}

function unitRow(row, expected) {
  const au = row.aus[0]; // stands for the AUs of the row, whose regions coincide
  const button = element("button", { type: "button", "aria-pressed": "false" }, `AU${row.aus.join("/")} ${row.names.join(", ")}`);
  const line = element("tr", { "data-au": au, class: row.aus.some((each) => expected.includes(each)) ? "expected" : "" },
    element("th", { scope: "row" }, button), element("td", {}, `${(100 * row.share).toFixed(1)} %`),
    element("td", {}, `${(100 * row.uniform).toFixed(1)} %`), element("td", {}, `${row.lift.toFixed(1)}x`));
  line.onmouseenter = button.onfocus = () => outline(au);
  line.onmouseleave = button.onblur = () => outline();
  button.onclick = () => {
    if (!kept.delete(au)) kept.add(au);
    button.setAttribute("aria-pressed", kept.has(au));
    line.classList.toggle("kept", kept.has(au));
    outline(au);
  };
  return line;
}

function outline(pointed) {
  const yellow = new Set(kept), white = $("outlines").checked ? face.expected[shownExpression()] : [];
  if (pointed !== undefined) yellow.add(pointed);
  const ellipses = [...new Set([...white, ...yellow])].flatMap((au) =>
    (face.regions[au] || []).map((region) => drawEllipse(region, au, yellow.has(au))));
  $("regions").replaceChildren(...ellipses.sort((a, b) => a.classList.contains("kept") - b.classList.contains("kept")));
  const outlined = [...new Set(ellipses.map((ellipse) => `AU${ellipse.dataset.au}`))];
  $("regions").setAttribute("aria-label", outlined.length ? `Outlined: ${outlined.join(", ")}` : "No action unit is outlined");
}

function drawEllipse(region, au, isKept) {
  const space = "http://www.w3.org/2000/svg";
  const ellipse = document.createElementNS(space, "ellipse"), title = document.createElementNS(space, "title");
  const values = { cx: region.x, cy: region.y, rx: region.rx, ry: region.ry, "data-au": au,
    class: isKept ? "kept" : "", transform: `rotate(${region.angle} ${region.x} ${region.y})` };
  for (const [key, value] of Object.entries(values)) ellipse.setAttribute(key, value);
  title.textContent = `AU${au} ${face.names[au]}`;
  ellipse.append(title);
  return ellipse;
}

$("opacity").oninput = () => { $("map").style.opacity = $("opacity").value / 100; };
$("outlines").onchange = () => outline();
for (const [id, kind] of [["class", "cam"], ["layer", "attention"]]) {
  $(id).onchange = () => { kindButton(kind).checked = true; showMap(); };
}
document.querySelectorAll("[name=kind]").forEach((button) => { button.onchange = showMap; });
