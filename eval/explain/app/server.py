"""The server of the page: it takes a picture and gives its explanation, and keeps nothing of either."""

import base64
import io
import threading
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from flask import Flask, Response, jsonify, request, send_from_directory
from numpy.typing import NDArray
from PIL import Image
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from au_guidance.expressions import Expression, codebook
from au_guidance.heatmap import geometry_table
from eval.explain.explainer import Explainer, Explanation
from eval.explain.reading import au_table, ellipses
from eval.figures.faces import shown
from eval.figures.style import MAP
from pipeline.storage import images
from train.card.schema import Heatmap

PAGE = Path(__file__).with_name("page")
LOCAL = ("127.0.0.1", "localhost", "[::1]")
MEGABYTES, MEGAPIXELS = 20, 40
# Nothing is loaded from elsewhere, and no other page may show or call this one.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "frame-ancestors 'none'; form-action 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def make(explainer: Explainer, *, only_local: bool = True, megabytes: int = MEGABYTES) -> Flask:
    """Make the application for a checkpoint; uploads above `megabytes` are refused.

    `only_local` refuses requests that were made for another host: a foreign page could have them sent here.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = megabytes * 10**6
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the most probable class first
    turn = threading.Lock()  # one picture at a time through the network

    @app.before_request
    def _check_host() -> tuple[Response, int] | None:
        if only_local and request.host.rpartition(":")[0] not in LOCAL and request.host not in LOCAL:
            return jsonify(error="this page is for this machine only"), 403
        return None

    @app.after_request
    def _add_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    @app.errorhandler(HTTPException)
    def _say(error: HTTPException) -> tuple[Response, int]:
        what = error.description or ""
        if isinstance(error, RequestEntityTooLarge):
            what = f"the file is larger than {megabytes} MB; give a smaller picture"
        return jsonify(error=what), error.code or 500

    @app.get("/")
    def _page() -> Response:
        return send_from_directory(PAGE, "index.html")

    @app.get("/page/<name>")
    def _file(name: str) -> Response:
        return send_from_directory(PAGE, name)

    @app.get("/about")
    def _about() -> Response:
        return jsonify(about(explainer))

    @app.post("/explain")
    def _explain() -> tuple[Response, int]:
        data = request.get_data(cache=False)
        try:
            picture = images.read_bytes(data, MEGAPIXELS * 10**6)
        except images.Unreadable as error:
            return jsonify(error=f"this file cannot be read as a picture: {error}"), 400
        with turn:
            faces = explainer.explain(picture, every_class=True)
        if not faces:
            return jsonify(error="no face was found in this picture"), 200
        return jsonify(faces=[described(face, explainer.card.heatmap) for face in faces]), 200

    return app


def about(explainer: Explainer) -> dict[str, Any]:
    """Say what the page is about: the checkpoint's training and how far it was right."""
    card, scores = explainer.card, explainer.loaded.scores
    return {
        "method": card.method,
        "dataset": card.dataset,
        "variant": card.variant,
        "layer": explainer.layer,
        "accuracy": scores.get("validation_accuracy"),
        "calibrated": "temperature" in scores,
    }


def described(face: Explanation, heatmap: Heatmap) -> dict[str, Any]:
    """Return what the page shows of a face: pictures as data URLs, maps and their AU tables by name, AU regions."""
    maps = {f"cam {label}": values for label, values in face.cams.items()}
    maps |= {f"attention {layer}": values for layer, values in face.attention.items()}
    placed = face.shapes
    aus = () if placed is None else sorted(_aus(heatmap))
    return {
        "label": face.label,
        "probabilities": {label: face.probabilities[label] for label in face.ranked},
        "calibrated": face.calibrated,
        "words": face.words,
        "layer": face.layer,
        "picture": _url(face.face),
        "maps": {name: _url(_coloured(values)) for name, values in maps.items()},
        "tables": {} if placed is None else {name: au_table(one, placed, heatmap) for name, one in maps.items()},
        "regions": {
            au: [_ellipse(one) for one in ellipses(placed, au, heatmap.geometry)] for au in aus if placed is not None
        },
        "expected": {one.label: list(codebook(heatmap.codebook)[one]) for one in Expression},
    }


def _aus(heatmap: Heatmap) -> set[int]:
    drawn = {ellipse.au for ellipse in geometry_table(heatmap.geometry).ellipses}
    return drawn & {au for aus in codebook(heatmap.codebook).values() for au in aus}


def _ellipse(values: NDArray[np.float64]) -> dict[str, float]:
    x, y, across, down, angle = (float(value) for value in values)
    return {"x": x, "y": y, "rx": max(across, 1), "ry": max(down, 1), "angle": float(np.degrees(angle))}


def _coloured(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return (255 * matplotlib.colormaps[MAP](np.clip(shown(values), 0, 1))[..., :3]).astype(np.uint8)


def _url(picture: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
