"""The server of the page: it receives a picture, returns its explanation, and stores neither."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from flask import Flask, Response, jsonify, request, send_from_directory
from werkzeug.exceptions import BadRequest, NotFound

from eval.explain.app import answers, samples
from eval.explain.app.guards import Queue, add_guards
from eval.explain.app.listener import Listener, is_local, url
from eval.explain.explainer import Explainer
from eval.explain.explanation import RGBImage
from pipeline.storage import images

PAGE = Path(__file__).with_name("page")
NO_FACE = "no face was found in this picture"
NAME_LENGTH = 200  # of a picture's name in its JSON, characters


class Limits(NamedTuple):
    """Of an upload, in megabytes, of a picture, in megapixels, and of the faces that are explained in one."""

    megabytes: int = 20
    megapixels: float = 50
    faces: int = 24


def serve(explainer: Explainer, host: str, port: int, limits: Limits) -> None:
    """Print the address of the page and serve it until the process is stopped; port 0 is any free one.

    Raises UserError if the host or the port cannot be used.
    """
    only_local = is_local(host)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    listener = Listener(host, port, create_app(explainer, limits, only_local=only_local))
    if not only_local:
        print(f"warning: everyone who reaches {host} can use this page; it has no password", flush=True)
    print(f"{url(host, listener.port)}  (Ctrl-C stops the server)", flush=True)
    listener.serve_forever()
    print()


def create_app(explainer: Explainer, limits: Limits, *, only_local: bool = True) -> Flask:
    """Create the application for a checkpoint; it answers no request that another page causes.

    With `only_local` it also refuses requests made for another host, because a foreign page can have a browser send
    them here.
    """
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # keeps the most probable expression first
    add_guards(app, only_local=only_local, megabytes=limits.megabytes)
    _add_files(app)
    _add_answers(app, explainer, limits)
    return app


def _add_files(app: Flask) -> None:
    @app.get("/")
    def _page() -> Response:
        return send_from_directory(PAGE, "index.html")

    @app.get("/page/<name>")
    def _page_file(name: str) -> Response:
        return send_from_directory(PAGE, name)

    @app.get("/samples/<name>.jpg")
    def _sample(name: str) -> Response:
        try:
            return Response(samples.sample(name), content_type="image/jpeg")
        except KeyError:
            raise NotFound(f"the samples are {', '.join(samples.NAMES)}") from None


def _add_answers(app: Flask, explainer: Explainer, limits: Limits) -> None:
    queue = Queue()

    @contextmanager
    def received_picture() -> Iterator[RGBImage]:
        with queue.turn() as data:
            try:
                picture = images.read_bytes(data, round(limits.megapixels * 1e6))
            except images.Unreadable as error:
                raise BadRequest(f"this file cannot be read as a picture: {error}") from None
            yield picture

    @app.get("/about")
    def _about() -> Response:
        card, scores = explainer.card, explainer.loaded.scores
        trained = {"method": card.method, "dataset": card.dataset, "variant": card.variant}
        return jsonify(
            **trained,
            accuracy=scores.get("validation_accuracy"),
            domain=explainer.domain,
            notes=explainer.notes,
            megabytes=limits.megabytes,
            samples=samples.NAMES,
        )

    @app.post("/explain")
    def _explain() -> Response:
        name = request.args.get("name", "picture")[:NAME_LENGTH]
        with received_picture() as picture:
            faces, left_out = answers.explain_picture(explainer, picture, max_faces=limits.faces, every_class=True)
            return jsonify(answers.answer(name, picture, faces, left_out))

    @app.post("/panel.png")
    def _panel() -> Response:
        with received_picture() as picture:
            faces, _ = answers.explain_picture(explainer, picture, max_faces=limits.faces)
            if not faces:
                raise BadRequest(NO_FACE)
            return Response(answers.panel_file(faces, picture), content_type="image/png")
