// The webcam: its picture, and a shot of it as a file.
import { $, showStatus } from "/page/dom.js";

let stream = null;

function close() {
  if (stream) stream.getTracks().forEach((track) => track.stop());
  stream = null;
  $("camera").hidden = true;
  $("webcam").setAttribute("aria-expanded", "false");
}

export function connectCamera(take) {
  $("webcam").onclick = async () => {
    if (stream) return;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: true });
      $("video").srcObject = stream;
      $("camera").hidden = false;
      $("webcam").setAttribute("aria-expanded", "true");
      $("shoot").focus();
    } catch {
      showStatus("There is no webcam, or the browser is not allowed to use it.", true);
    }
  };
  let shots = 0;
  $("shoot").onclick = () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [$("video").videoWidth, $("video").videoHeight];
    canvas.getContext("2d").drawImage($("video"), 0, 0);
    canvas.toBlob((blob) => take(blob, `webcam-${shots += 1}.png`), "image/png");
  };
  $("close").onclick = () => { close(); $("webcam").focus(); };
}
