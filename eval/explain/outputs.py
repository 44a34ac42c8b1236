"""The files of an explained image: a panel to look at, JSON for programs, and the maps as arrays."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eval.explain.explanation import Explanation
from eval.explain.panel import draw_panel
from pipeline.storage.files import atomic_write, write_text


def document(name: str, faces: Sequence[Explanation]) -> dict[str, Any]:
    """Return the explanations of an image as plain values; docs/explain.md describes every key."""
    return {"image": name, "faces": [_face(number, face) for number, face in enumerate(faces)]}


def write_files(out: Path, name: str, faces: Sequence[Explanation]) -> None:
    """Write `out`.json and, if there are faces, `out`.png and `out`.npz, each completely or not at all."""
    write_text(out.with_name(out.name + ".json"), json.dumps(document(name, faces), indent=1) + "\n")
    if not faces:
        return
    with atomic_write(out.with_name(out.name + ".png")) as temporary:
        Image.fromarray(draw_panel(faces)).save(temporary)
    with atomic_write(out.with_name(out.name + ".npz")) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays(faces))  # type: ignore[arg-type]  # numpy types only its own keywords


def arrays(faces: Sequence[Explanation]) -> dict[str, NDArray[Any]]:
    """Return the arrays by name: `face0`, `face0_matrix`, `face0_points`, `face0_cam_<label>`, `face0_attention_5`."""
    named: dict[str, NDArray[Any]] = {}
    for number, face in enumerate(faces):
        lead = f"face{number}"
        named |= {lead: face.face, f"{lead}_matrix": face.matrix}
        named |= {f"{lead}_cam_{label}": values for label, values in face.cams.items()}
        named |= {f"{lead}_attention_{layer}": values for layer, values in face.attention.items()}
        if face.points is not None:
            named[f"{lead}_points"] = face.points
    return named


def _face(number: int, face: Explanation) -> dict[str, Any]:
    return {
        "number": number,
        "box": [round(float(value), 1) for value in face.box],
        "status": face.status,
        "label": face.label,
        "probabilities": {label: round(value, 4) for label, value in face.probabilities.items()},
        "calibrated": face.calibrated,
        "words": face.words,
        "warnings": face.warnings,
        "readings": {kind: [reading.as_dict() for reading in readings] for kind, readings in face.readings.items()},
        "action_units": face.action_units,
        "layer": face.layer,
    }
