// Requests to the server that this page comes from.
import { showStatus } from "/page/dom.js";

const TRIES = 30;
const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

// Send a picture; wait and try again while the server is busy. Throws an error whose message is for the user.
export async function send(address, blob) {
  for (let attempt = 1; ; attempt += 1) {
    let response;
    try {
      response = await fetch(address, { method: "POST", body: blob });
    } catch {
      throw new Error("The server does not respond, or the file cannot be read. Is the server still running?");
    }
    if (response.ok) return response;
    if (response.status !== 503 || attempt === TRIES) {
      throw new Error(await response.json().then((answer) => answer.error, () => `the server answers ${response.status}`));
    }
    const seconds = Number(response.headers.get("Retry-After")) || 5;
    showStatus(`The server is busy with other pictures; trying again in ${seconds} seconds ...`);
    await pause(seconds);
  }
}
