"""The files of an explained image: a panel to look at, JSON for programs, and the maps as arrays."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eval.explain.explanation import Explanation, RGBImage
from eval.explain.panel import Shrunk, draw_panel
from pipeline.storage.files import atomic_write, write_text


def document(name: str, faces: Sequence[Explanation]) -> dict[str, Any]:
    """Return the explanations of an image as plain values; docs/explain.md describes every key."""
    return {"image": name, "faces": [_face(number, face) for number, face in enumerate(faces, start=1)]}


def write_files(
    out: Path,
    name: str,
    faces: Sequence[Explanation],
    picture: RGBImage | Shrunk | None = None,
    *,
    stand_in: RGBImage | None = None,
) -> None:
    """Write `out`.json and, if there are faces, `out`.png and `out`.npz, each completely or not at all.

    Panel and arrays show no face if a `stand_in` is given (see `eval.explain.panel.draw_panel`).
    """
    write_text(out.with_name(out.name + ".json"), json.dumps(document(name, faces), indent=1) + "\n")
    if not faces:
        return
    with atomic_write(out.with_name(out.name + ".png")) as temporary:
        Image.fromarray(draw_panel(faces, picture, stand_in=stand_in)).save(temporary)
    named = arrays(faces, with_faces=stand_in is None)
    with atomic_write(out.with_name(out.name + ".npz")) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **named)  # type: ignore[arg-type]  # numpy types only its own keywords


def arrays(faces: Sequence[Explanation], *, with_faces: bool = True) -> dict[str, NDArray[Any]]:
    """Return the arrays by name: `face1`, `face1_matrix`, `face1_points`, `face1_cam_<label>`, `face1_attention_5`.

    Without `with_faces`, what can identify a person is left out: image, position, landmarks, and the attention of all
    layers but the shown one, as early ones resemble the image.
    """
    named: dict[str, NDArray[Any]] = {}
    for number, face in enumerate(faces, start=1):
        lead = f"face{number}"
        if with_faces:
            named |= {lead: face.face, f"{lead}_matrix": face.matrix}
            named |= {} if face.points is None else {f"{lead}_points": face.points}
        named |= {f"{lead}_cam_{label}": values for label, values in face.cams.items()}
        layers = face.attention if with_faces else [face.layer]
        named |= {f"{lead}_attention_{layer}": face.attention[layer] for layer in layers}
    return named


def _face(number: int, face: Explanation) -> dict[str, Any]:
    return {
        "number": number,
        "box": list(face.corners.values()),
        "status": face.status,
        **face.detection,
        "conditions": _rounded(vars(face.conditions)) if face.conditions else None,
        "label": face.label,
        "probabilities": {label: round(value, 4) for label, value in face.probabilities.items()},
        "calibrated": face.calibrated,
        "domain": face.domain,
        "words": face.words,
        "warnings": face.warnings,
        "readings": {kind: [reading.as_dict() for reading in readings] for kind, readings in face.readings.items()},
        "action_units": face.action_units,
        "layer": face.layer,
    }


def _rounded(values: dict[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 3) for name, value in values.items()}
