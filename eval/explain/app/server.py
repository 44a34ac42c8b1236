"""The server of the page: it receives an image, returns its explanation, and stores neither."""

import base64
import io
import logging
import threading
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from flask import Flask, Response, jsonify, request, send_from_directory
from numpy.typing import NDArray
from PIL import Image
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.serving import make_server

from au_guidance.expressions import codebook
from eval.explain.explainer import Explainer
from eval.explain.explanation import Explanation, RGBImage
from eval.explain.reading import au_table, ellipses
from eval.figures.faces import divide_by_peak
from eval.figures.style import MAP
from pipeline.errors import UserError
from pipeline.storage import images

PAGE = Path(__file__).with_name("page")
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
MEGAPIXELS = 40  # of an image; larger ones are refused
# The page loads nothing from other hosts, and no other page may embed or call it.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "frame-ancestors 'none'; form-action 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def serve(explainer: Explainer, host: str, port: int, *, megabytes: int) -> None:
    """Print the address of the page and serve it until the process is stopped; port 0 is any free one.

    Raises UserError if the port is in use.
    """
    only_local = host in LOCAL_HOSTS
    app = create_app(explainer, only_local=only_local, megabytes=megabytes)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    try:
        listener = make_server(host, port, app, threaded=True)
    except (OSError, SystemExit):
        raise UserError(f"--port: {host}:{port} is in use; choose another port, or 0 for a free one") from None
    if not only_local:
        print(f"warning: everyone who reaches {host} can use this page; it has no password", flush=True)
    print(f"http://{host}:{listener.server_port}  (Ctrl-C stops the server)", flush=True)
    try:
        listener.serve_forever()
    except KeyboardInterrupt:
        print()


def create_app(explainer: Explainer, *, only_local: bool = True, megabytes: int) -> Flask:
    """Create the application for a checkpoint; it refuses uploads above `megabytes`.

    With `only_local` it also refuses requests made for another host, because a foreign page can have a browser send
    them here.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = megabytes * 10**6
    app.json.sort_keys = False  # type: ignore[attr-defined]  # keeps the most probable expression first
    _add_guards(app, only_local=only_local, megabytes=megabytes)
    _add_routes(app, explainer)
    return app


def _add_guards(app: Flask, *, only_local: bool, megabytes: int) -> None:
    @app.before_request
    def _refuse_other_hosts() -> tuple[Response, int] | None:
        if only_local and request.host.rpartition(":")[0] not in LOCAL_HOSTS and request.host not in LOCAL_HOSTS:
            return jsonify(error="this page accepts requests from this machine only"), 403
        return None

    @app.after_request
    def _add_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    @app.errorhandler(HTTPException)
    def _answer_error(error: HTTPException) -> tuple[Response, int]:
        message = error.description or ""
        if isinstance(error, RequestEntityTooLarge):
            message = f"the file is larger than {megabytes} MB; choose a smaller image"
        return jsonify(error=message), error.code or 500


def _add_routes(app: Flask, explainer: Explainer) -> None:
    one_at_a_time = threading.Lock()  # the network explains one image at a time

    @app.get("/")
    def _page() -> Response:
        return send_from_directory(PAGE, "index.html")

    @app.get("/page/<name>")
    def _page_file(name: str) -> Response:
        return send_from_directory(PAGE, name)

    @app.get("/about")
    def _about() -> Response:
        card, scores = explainer.card, explainer.loaded.scores
        trained = {"method": card.method, "dataset": card.dataset, "variant": card.variant, "layer": explainer.layer}
        return jsonify(**trained, accuracy=scores.get("validation_accuracy"), calibrated="temperature" in scores)

    @app.post("/explain")
    def _explain() -> tuple[Response, int]:
        try:
            image = images.read_bytes(request.get_data(cache=False), MEGAPIXELS * 10**6)
        except images.Unreadable as error:
            return jsonify(error=f"this file cannot be read as an image: {error}"), 400
        with one_at_a_time:
            faces = explainer.explain(image, every_class=True)
        if not faces:
            return jsonify(error="no face was found in this image"), 200
        return jsonify(faces=[describe_face(face) for face in faces]), 200


def describe_face(face: Explanation) -> dict[str, Any]:
    """Return what the page shows of a face: images as data URLs, maps and their AU tables by name, AU regions."""
    maps = {f"cam {label}": values for label, values in face.cams.items()}
    maps |= {f"attention {layer}": values for layer, values in face.attention.items()}
    expected = codebook(face.heatmap.codebook)
    tables: dict[str, Any] = {}
    regions: dict[int, Any] = {}
    if face.shapes is not None and face.points is not None:
        tables = {name: au_table(values, face.shapes, face.points, face.heatmap) for name, values in maps.items()}
        for au in {au for aus in expected.values() for au in aus}:
            regions[au] = [_svg_ellipse(ellipse) for ellipse in ellipses(face.shapes, au, face.heatmap.geometry)]
    colours = matplotlib.colormaps[MAP]
    return {
        "label": face.label,
        "probabilities": {label: face.probabilities[label] for label in face.ranked},
        "calibrated": face.calibrated,
        "words": face.words,
        "layer": face.layer,
        "picture": _data_url(face.face),
        "maps": {name: _data_url(colours(divide_by_peak(m), bytes=True)[..., :3]) for name, m in maps.items()},
        "tables": tables,
        "regions": regions,
        "expected": {label.label: list(aus) for label, aus in expected.items()},
    }


def _svg_ellipse(ellipse: NDArray[np.float64]) -> dict[str, float]:
    x, y, rx, ry, angle = (float(value) for value in ellipse)
    return {"x": x, "y": y, "rx": max(rx, 1), "ry": max(ry, 1), "angle": float(np.degrees(angle))}


def _data_url(image: RGBImage) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
