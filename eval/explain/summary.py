"""What was found in many files: a table, `summary.csv`, and a page, `index.html`.

A face has a row, and so has a picture without a face, a film, and a file that cannot be read. The doubt about an answer
is the number of its warnings, plus one minus its probability: answers with more warnings come first and, among those
with equally many, the less probable ones. Rows are written as they come, so memory does not grow with the files.
"""

import base64
import csv
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any
from urllib.parse import quote

import cv2
from jinja2 import Environment, FileSystemLoader

from eval.explain.explanation import BOX, MEANING, Explanation, RGBImage, percent
from eval.explain.inputs import Input
from pipeline.errors import UserError
from pipeline.storage.files import atomic_write

TABLE, PAGE = "summary.csv", "index.html"
COLUMNS = (
    "image", "results", "status", "number", *BOX, "crop_size", "label", "probability", "runner_up",
    "runner_up_probability", "step", "score", "quality", "doubt", "warnings", "frames", "faces",
)  # fmt: skip
GENERATOR = "python -m eval.explain"
NO_FACE, UNREADABLE, FILM = "no_face", "unreadable", "film"  # statuses beside those of faces
THUMBNAIL, MAX_THUMBNAILS = 56, 5000  # pixels; a page with more would be slow to open
UNANSWERED = 10**6  # sorts what has no answer before all doubts


class Summary:
    """Takes the results one after another, `statuses` counts them; without files to write to, they are dropped."""

    def __init__(
        self, table: IO[str] | None = None, thumbnails: IO[str] | None = None, *, with_faces: bool = True
    ) -> None:
        self.statuses: Counter[str] = Counter()
        self._thumbnails, self._n_shown = thumbnails, MAX_THUMBNAILS if with_faces else 0
        self._rows = csv.DictWriter(table, COLUMNS, lineterminator="\n") if table else None
        if self._rows is not None:
            self._rows.writeheader()

    def add_picture(self, source: Input, faces: Sequence[Explanation]) -> None:
        """Add a row for each face of a picture, or one that says that there is none."""
        if not faces:
            self._add(source, NO_FACE)
        for number, face in enumerate(faces, start=1):
            self._add(source, face.status, face.face, number=number, **_columns(face))

    def add_film(self, source: Input, n_frames: int, n_faces: int, warning: str = "") -> None:
        """Add the row of a film; `warning` says what of it is missing."""
        self._add(source, FILM, frames=n_frames, faces=n_faces, warnings=warning)

    def add_unreadable(self, source: Input, reason: str) -> None:
        """Add the row of a file that could not be read."""
        self._add(source, UNREADABLE, warnings=reason)

    def _add(self, source: Input, status: str, face: RGBImage | None = None, **values: Any) -> None:
        self.statuses[status if status in {NO_FACE, UNREADABLE, FILM} else "face"] += 1
        if self._rows is not None:
            results = "" if status == UNREADABLE else source.name
            self._rows.writerow({"image": str(source.path), "results": results, "status": status, **values})
        if self._thumbnails is not None:
            shown = face if self.statuses["face"] <= self._n_shown else None
            self._thumbnails.write("\n" if shown is None else f"{_thumbnail(shown)}\n")


@contextmanager
def summarise(out: Path | None, notes: Sequence[str] = (), *, with_faces: bool = True) -> Iterator[Summary]:
    """Yield a summary that is written to the folder `out` when the block ends, or to nowhere if that is None.

    `notes` about the network stand on the page; `with_faces` puts thumbnails there. Raises UserError at once if `out`
    holds a table or a page of another origin.
    """
    if out is None:
        yield Summary()
        return
    _refuse_foreign(out)
    with (
        atomic_write(out / TABLE) as table,
        atomic_write(out / PAGE) as page,
        TemporaryFile("w+", encoding="ascii") as thumbnails,
    ):
        # A file name need not be UTF-8.
        with table.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:
            summary = Summary(file, thumbnails, with_faces=with_faces)
            yield summary
        thumbnails.seek(0)
        with table.open(encoding="utf-8", newline="") as stored, page.open("w", encoding="utf-8") as file:
            _write_page(
                file, _shown(stored, thumbnails, drawn=with_faces), summary.statuses, notes, with_faces=with_faces
            )


def _refuse_foreign(out: Path) -> None:
    """Raise UserError if a file of another origin has the name of one that will be written."""
    for name, mark in ((TABLE, ",".join(COLUMNS[:3])), (PAGE, f'content="{GENERATOR}"')):
        path = out / name
        if path.is_file():
            with path.open("rb") as file:
                if mark.encode() not in file.read(500):
                    raise UserError(f"--out: {path} is no file of this command; choose another folder")


def doubt(face: Explanation) -> float:
    """Return the number of warnings about a face plus one minus the probability of the answer."""
    return len(face.warnings) + 1 - face.probabilities[face.label]


def _columns(face: Explanation) -> dict[str, Any]:
    first, second = face.ranked[:2]
    return {
        **face.corners,
        **face.detection,
        "label": first,
        "probability": round(face.probabilities[first], 4),
        "runner_up": second,
        "runner_up_probability": round(face.probabilities[second], 4),
        "doubt": round(doubt(face), 4),
        "warnings": "; ".join(face.warnings),
    }


def _thumbnail(face: RGBImage) -> str:
    small = cv2.resize(face, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return base64.b64encode(encoded.tobytes()).decode()


def _shown(table: Iterable[str], thumbnails: Iterable[str], *, drawn: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table for the page; films are linked if they are `drawn`."""
    for row, thumbnail in zip(csv.DictReader(table), thumbnails, strict=True):
        suffix = ".csv" if row["status"] == FILM else ".json" if row["status"] == NO_FACE else ".png"
        name = row["results"].encode("utf-8")
        yield {
            **row,
            "name": os.path.basename(row["image"]),  # noqa: PTH119  (a Path would lose a trailing dot or space)
            "link": f"./{quote(name)}{suffix}" if name else "",
            "film": f"./{quote(name)}.mp4" if drawn and row["status"] == FILM else "",
            "thumbnail": thumbnail.strip(),
            "percents": [percent(float(row[name])) for name in ("probability", "runner_up_probability") if row[name]],
            "order": row["doubt"] or ("" if row["status"] == FILM else UNANSWERED),
        }


def _write_page(
    file: IO[str], rows: Iterable[dict[str, Any]], statuses: Counter[str], notes: Sequence[str], *, with_faces: bool
) -> None:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    shown = environment.get_template("summary.html").generate(
        rows=rows,
        counts=_counts(statuses),
        notes=notes,
        meaning=MEANING,
        generator=GENERATOR,
        limit=f"{MAX_THUMBNAILS:,}" if with_faces and statuses["face"] > MAX_THUMBNAILS else "",
        size=THUMBNAIL,
    )
    file.writelines(shown)


def _counts(statuses: Counter[str]) -> str:
    words = {
        "face": ("face", "faces"),
        NO_FACE: ("picture without a face", "pictures without a face"),
        UNREADABLE: ("file that cannot be read", "files that cannot be read"),
        FILM: ("film", "films"),
    }
    counted = [f"{statuses[name]:,} {forms[statuses[name] != 1]}" for name, forms in words.items() if statuses[name]]
    return ", ".join(counted) or "nothing"
