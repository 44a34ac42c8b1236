"""The server of the page: it receives an image, returns its explanation, and stores neither."""

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

from au_guidance.expressions import codebook
from au_guidance.heatmap import geometry_table
from eval.explain.explainer import Explainer
from eval.explain.explanation import Explanation, Map, RGBImage
from eval.explain.reading import au_table, ellipses
from eval.figures.faces import divide_by_peak
from eval.figures.style import MAP
from pipeline.storage import images
from train.card.schema import Heatmap

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
        return jsonify(describe_checkpoint(explainer))

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
        return jsonify(faces=[describe_face(face, explainer.card.heatmap) for face in faces]), 200


def describe_checkpoint(explainer: Explainer) -> dict[str, Any]:
    """Return how the checkpoint was trained, and its accuracy on its validation faces, None if unknown."""
    card, scores = explainer.card, explainer.loaded.scores
    return {
        "method": card.method,
        "dataset": card.dataset,
        "variant": card.variant,
        "layer": explainer.layer,
        "accuracy": scores.get("validation_accuracy"),
        "calibrated": "temperature" in scores,
    }


def describe_face(face: Explanation, heatmap: Heatmap) -> dict[str, Any]:
    """Return what the page shows of a face: images as data URLs, maps and their AU tables by name, AU regions."""
    maps = {f"cam {label}": values for label, values in face.cams.items()}
    maps |= {f"attention {layer}": values for layer, values in face.attention.items()}
    tables: dict[str, Any] = {}
    regions: dict[int, Any] = {}
    if face.shapes is not None:
        tables = {name: au_table(values, face.shapes, heatmap) for name, values in maps.items()}
        regions = {
            au: [_svg_ellipse(ellipse) for ellipse in ellipses(face.shapes, au, heatmap.geometry)]
            for au in sorted(_drawn_aus(heatmap))
        }
    return {
        "label": face.label,
        "probabilities": {label: face.probabilities[label] for label in face.ranked},
        "calibrated": face.calibrated,
        "words": face.words,
        "layer": face.layer,
        "picture": _data_url(face.face),
        "maps": {name: _data_url(_coloured(values)) for name, values in maps.items()},
        "tables": tables,
        "regions": regions,
        "expected": {label.label: list(aus) for label, aus in codebook(heatmap.codebook).items()},
    }


def _drawn_aus(heatmap: Heatmap) -> set[int]:
    """Return the AUs of the codebook that the geometry draws."""
    drawn = {ellipse.au for ellipse in geometry_table(heatmap.geometry).ellipses}
    return drawn & {au for aus in codebook(heatmap.codebook).values() for au in aus}


def _svg_ellipse(ellipse: NDArray[np.float64]) -> dict[str, float]:
    x, y, rx, ry, angle = (float(value) for value in ellipse)
    return {"x": x, "y": y, "rx": max(rx, 1), "ry": max(ry, 1), "angle": float(np.degrees(angle))}


def _coloured(values: Map) -> RGBImage:
    return (255 * matplotlib.colormaps[MAP](np.clip(divide_by_peak(values), 0, 1))[..., :3]).astype(np.uint8)


def _data_url(image: RGBImage) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
