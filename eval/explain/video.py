"""Explain a film frame by frame: a CSV row per frame and face, and the film with maps and labels drawn on it.

Frames are processed in batches, so memory does not grow with the length of the film. Frames are searched less finely
than pictures.
"""

import csv
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from itertools import tee
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from eval.explain.explainer import BATCH_SIZE, Explainer
from eval.explain.explanation import BOX, Explanation
from eval.explain.films.drawing import draw_face
from eval.explain.films.reading import Film, Frame
from eval.explain.films.tracking import FaceTracker
from eval.explain.films.writing import FilmWriter, open_writer
from pipeline.storage.files import atomic_write
from pipeline.storage.images import MAX_PIXELS
from train.checkpoints.checkpoint import LABELS

BATCH_PIXELS = 64_000_000  # of the frames that are held at a time
FOUND = ("step", "score", "quality", "crop_size")
COLUMNS = ("frame", "seconds", "face", *BOX, *FOUND, "label", *LABELS, "words", "warnings")
NO_SOUND = "films are written without their sound"


class ExplainedFilm(NamedTuple):
    """What became of a film: how many frames, different faces, and rows of the table it gave.

    `missing` says how much could be read, such as "31 of 60 frames", and is empty if nothing is missing. `altered_fps`
    is the rate of the new film if the frames could not keep their times in it; `notes` hold for every film.
    """

    n_frames: int
    n_faces: int
    n_rows: int
    missing: str
    altered_fps: float | None
    notes: tuple[str, ...]

    def summary(self) -> str:
        """Return all of this but the notes as a phrase."""
        return "; ".join(
            [
                ", ".join(map(_counted, (self.n_frames, self.n_faces, self.n_rows), ("frame", "face", "row"))),
                *([f"only {self.missing} could be read, the file is damaged or cut short"] if self.missing else []),
                *([f"variable frame rate, written at {self.altered_fps:g} per second"] if self.altered_fps else []),
            ]
        )


def explain_video(
    explainer: Explainer,
    path: Path,
    out: Path,
    *,
    batch_size: int = BATCH_SIZE,
    max_pixels: int = MAX_PIXELS,
    drawn: bool = True,
) -> ExplainedFilm:
    """Write `out`.csv and, if `drawn`, `out`.mp4, each completely or not at all.

    Raises UserError if OpenCV cannot read the file as a film, or cannot write one.
    """
    with closing(Film(path, max_pixels)) as film:
        batch_size = max(1, min(batch_size, BATCH_PIXELS // film.n_pixels))
        frames = tqdm(film.frames(), desc="explain", total=film.announced, unit="frame", disable=None)
        explained = _write_explained(explainer, frames, out, film.fps if drawn else None, batch_size)
        return explained._replace(missing=film.missing())


def _write_explained(
    explainer: Explainer, frames: Iterable[Frame], out: Path, fps: float | None, batch_size: int
) -> ExplainedFilm:
    tracker, n_frames, n_rows = FaceTracker(), 0, 0
    writer: FilmWriter | None = None
    with (
        atomic_write(out.with_name(out.name + ".csv")) as table,
        nullcontext() if fps is None else atomic_write(out.with_name(out.name + ".mp4")) as film,
        table.open("w", encoding="utf-8", newline="") as file,
    ):
        rows = csv.DictWriter(file, COLUMNS)
        rows.writeheader()
        try:
            for frame, faces in _explained(explainer, frames, batch_size):
                numbers = tracker.assign(
                    n_frames, frame.image, [face.box for face in faces], [face.face for face in faces]
                )
                numbered = sorted(zip(numbers, faces, strict=True), key=itemgetter(0))
                rows.writerows(_row(n_frames, frame.seconds, *pair) for pair in numbered)
                if film is not None and fps is not None:
                    for number, face in numbered:
                        draw_face(frame.image, face, number)
                    writer = writer or open_writer(film, frame.image, fps)
                    writer.add(frame)
                n_frames, n_rows = n_frames + 1, n_rows + len(faces)
        finally:
            if writer is not None:
                writer.close()
    if writer is None:
        return ExplainedFilm(n_frames, tracker.n_faces, n_rows, "", None, ())
    notes = tuple(note for note in (NO_SOUND, writer.note) if note)
    return ExplainedFilm(n_frames, tracker.n_faces, n_rows, "", writer.altered_fps, notes)


def _counted(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _explained(
    explainer: Explainer, frames: Iterable[Frame], batch_size: int
) -> Iterator[tuple[Frame, list[Explanation]]]:
    ahead, shown = tee(frames)  # the explainer reads a batch ahead
    explained = explainer.for_films().explain_all((frame.image for frame in ahead), batch_size=batch_size)
    yield from zip(shown, explained, strict=True)


def _row(frame: int, seconds: float, number: int, face: Explanation) -> dict[str, Any]:
    return {
        "frame": frame,
        "seconds": round(seconds, 3),
        "face": number,
        **face.corners,
        **face.detection,
        "label": face.label,
        **{label: round(face.probabilities[label], 4) for label in LABELS},
        "words": face.words[0],
        "warnings": "; ".join(face.warnings),
    }
