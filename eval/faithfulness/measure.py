"""Whether the network of a checkpoint uses what its maps show.

For the CAM of the predicted class (where a method has one) and the attention of the deepest guided layer: deletion,
insertion and ROAD against random orders, and how much the map changes when weights become random. For the network:
its accuracy on the AU region of the true class, and without it. The curves stand beside it as `faithfulness.csv`.

A random order is that of a random map with the grid of the map in question, so that patches of the same size go. Its
ROAD is 0 in expectation. What happens to a face depends on the seed and its row only.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from au_guidance.loss import attention, resize
from eval.faithfulness import removal, road
from eval.faithfulness.randomisation import cascade, rank_correlation
from eval.faithfulness.sampled import Faces, load
from eval.metrics.inference import mean_interval
from eval.predict import with_data_folder
from eval.records.predictions import identity
from pipeline.errors import UserError
from pipeline.storage.files import digest, refuse_overwriting, write_text
from train.checkpoints import checkpoint
from train.data.transforms import standardise
from train.hardware import autocast, claim

REGIONS = ("full", "au_kept", "au_removed", "random_kept", "random_removed")
PLACES = 3  # random places of a face's AU region
NOISE, TIES, SHIFTS, CONTROL = range(4)  # what is drawn for a face
Values = dict[str, NDArray[Any]]  # per face: {measure: (n, points)}


def faithfulness(
    path: Path, out: Path, *, images: int = 256, seed: int = 0, data: Path | None = None, batch_size: int = 32
) -> None:
    """Measure a checkpoint on a sample of its test faces; write `out` and, beside it, the curves as .csv.

    `data` is the folder of the prepared dataset where it is not the one that the card names. Raises UserError as
    `train.checkpoints.checkpoint.load` does, if no sampled face has an AU region, and if an answer or map is not
    finite.
    """
    if images < 1 or seed < 0 or batch_size < 1:
        raise UserError("--images and --batch-size must be at least 1, and --seed at least 0")
    loaded = checkpoint.load(path)
    card = with_data_folder(loaded.card, data)
    refuse_overwriting([path, *card.data.folder.glob("*/*.h5")], [out, out.with_suffix(".csv")])
    faces = load(card, images=images, seed=seed)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    with claim() as device:
        network = Network(loaded, device)
        batches = faces.batches(batch_size, device)
        curves = _joined([map_curves(network, batch, seed) for batch in _watched(batches, "curves")])
        asked = faces.with_region().batches(batch_size, device)
        right = np.concatenate([region_answers(network, batch, seed) for batch in _watched(asked, "regions")])
        changes = randomisation(network, batches, seed)
    results = {
        **identity(loaded.card),
        "card": loaded.card.digest(),
        "checkpoint": digest(path),
        "commit": str(loaded.meta.get("commit", "")),
        "images": len(faces.rows),
        "faithfulness_seed": seed,
        "maps": {kind: map_scores(values) for kind, values in curves.items()},
        "regions": region_scores(right),
        "randomisation": changes,
    }
    write_text(out, json.dumps(results, indent=1, allow_nan=False) + "\n")
    write_text(out.with_suffix(".csv"), mean_curves(curves).to_csv(index=False, float_format="%.6g"))


class Network:
    """A trained method in evaluation mode, on a device, for images (b, 3, s, s) in [0, 1] that it normalises itself."""

    def __init__(self, loaded: checkpoint.Loaded, device: torch.device) -> None:
        self.card, self.device = loaded.card, device
        self.method = loaded.method.eval().to(device).to(memory_format=torch.channels_last)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the probabilities (b, 7) of all classes, computed in the precision of the card's training.

        On a CPU with bf16 that is four times as fast, and the averages over faces change in the third decimal.
        """
        with torch.no_grad(), autocast(self.card.training.amp, self.device):
            logits = self.method(self._given(images)).logits
        return _finite(logits.float().softmax(1), "answers")

    def explain(self, images: Tensor, classes: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return classes (b,), the predicted ones unless given, and raw maps {kind: (b, h, w)} in single precision.

        The kinds are `cam`, of these classes, unless the method has none, and `attention` of the deepest guided layer.
        """
        with torch.set_grad_enabled(self.method.needs_gradient):
            output = self.method(self._given(images))
            classes = output.logits.argmax(1) if classes is None else classes
            cam = self.method.cam(output, classes)
        maps = {} if cam is None else {"cam": cam}
        maps["attention"] = attention(output.features[max(self.card.guidance.layers)])
        return classes, {kind: _finite(values.detach().float(), f"{kind} maps") for kind, values in maps.items()}

    def _given(self, images: Tensor) -> Tensor:
        given = standardise(images, self.card.model.normalisation)
        return given.contiguous(memory_format=torch.channels_last)


def _finite(values: Tensor, what: str) -> Tensor:
    if not torch.isfinite(values).all():
        raise UserError(f"the network's {what} are not finite; train it again")
    return values


def _watched(batches: list[Faces], what: str) -> Any:
    return tqdm(batches, desc=what, unit="batch", disable=None)


def map_curves(network: Network, faces: Faces, seed: int) -> dict[str, Values]:
    """Change faces by the maps of their predicted classes: {kind: {measure: (b, points)}}; see `removal`."""
    size = faces.images.shape[-1]
    noise = _noise(faces, seed)
    ties = _random(faces, seed, TIES, (size, size))
    classes, maps = network.explain(faces.images)
    explained = removal.explain_faces(network, faces.images, classes)
    by_kind, controls = dict[str, Values](), dict[tuple[int, ...], Tensor]()
    for kind, values in maps.items():
        grid = tuple(values.shape[1:])
        if grid not in controls:
            control = removal.relevance_order(resize(_random(faces, seed, CONTROL, grid), size), ties)
            controls[grid] = removal.deletion(explained, control)
        curves = _curves(explained, removal.relevance_order(resize(values, size), ties), noise)
        # Deletion read backwards is insertion in the reverse order, which is as random.
        curves |= {"random_deletion": controls[grid], "random_insertion": controls[grid].flip(1)}
        by_kind[kind] = {name: curve.cpu().numpy() for name, curve in curves.items()}
    return by_kind


def _curves(explained: removal.ExplainedFaces, order: Tensor, noise: Tensor) -> dict[str, Tensor]:
    morf, morf_kept = road.road(explained, order, noise)
    lerf, lerf_kept = road.road(explained, removal.reverse(order), noise)
    return {
        "deletion": removal.deletion(explained, order),
        "insertion": removal.insertion(explained, order),
        "road_morf": morf,
        "road_lerf": lerf,
        "road_morf_kept": morf_kept.double(),
        "road_lerf_kept": lerf_kept.double(),
    }


def region_answers(network: Network, faces: Faces, seed: int) -> NDArray[np.float64]:
    """Ask about faces (b) with parts kept or removed; return the share of right answers (b, 5), as REGIONS names them.

    See `eval.faithfulness.removal.regions`; there are PLACES random places for every face.
    """
    size = faces.images.shape[-1]
    shifts = faces.draw(seed, SHIFTS, lambda chance: chance.integers(0, size, (PLACES, 2)))
    right = removal.regions(
        network, faces.images, faces.expressions, masks=faces.regions, shifts=shifts, noise=_noise(faces, seed)
    )
    return right.cpu().numpy()


def _random(faces: Faces, seed: int, purpose: int, shape: tuple[int, ...]) -> Tensor:
    return faces.draw(seed, purpose, lambda chance: chance.random(shape, np.float32))


def _noise(faces: Faces, seed: int) -> Tensor:
    shape = tuple(faces.images.shape[1:])
    return faces.draw(seed, NOISE, lambda chance: chance.standard_normal(shape, np.float32))


def randomisation(network: Network, batches: list[Faces], seed: int) -> list[dict[str, Any]]:
    """Replace the network's weights stage by stage and say how like the trained ones its maps still are.

    For each stage the mean over faces of `rank_correlation` with the trained map, for the class that the trained
    network predicts; see there. What lies above a map cannot change it: attention stays at 1 until its own layer is
    reached. The network is untrained afterwards.
    """
    trained = [network.explain(batch.images) for batch in batches]
    correlations = list[dict[str, Any]]()
    for stage in cascade(network.method, network.card, seed):
        alike = dict[str, list[NDArray[np.float64]]]()
        for batch, (classes, before) in zip(batches, trained, strict=True):
            after = network.explain(batch.images, classes)[1]
            for kind in after:
                maps = (part[kind].cpu().numpy() for part in (before, after))
                alike.setdefault(kind, []).append(rank_correlation(*maps))
        correlations.append(
            {"stage": stage, **{kind: float(np.concatenate(parts).mean()) for kind, parts in alike.items()}}
        )
    return correlations


def _joined(parts: list[dict[str, Values]]) -> dict[str, Values]:
    return {
        kind: {name: np.concatenate([part[kind][name] for part in parts]) for name in parts[0][kind]}
        for kind in parts[0]
    }


def map_scores(values: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """Turn the curves of a map (n, points) into numbers with 95 % bootstrap intervals over the faces (_low, _high).

    Areas of deletion, insertion and their random controls; means of ROAD's curves over the removed shares;
    road = road_lerf - road_morf; and what the map is better by than a random order: deletion_gain = random_deletion -
    deletion, insertion_gain = insertion - random_insertion. The differences are in [-1, 1], higher is better, and a map
    that says nothing has 0; the others are in [0, 1], their direction see `eval.faithfulness.removal`.
    """
    areas = ("deletion", "insertion", "random_deletion", "random_insertion")
    faces = {name: removal.area(values[name]) for name in areas}
    faces |= {name: values[name].mean(1) for name in ("road_morf", "road_lerf")}
    faces["road"] = faces["road_lerf"] - faces["road_morf"]
    faces["deletion_gain"] = faces["random_deletion"] - faces["deletion"]
    faces["insertion_gain"] = faces["insertion"] - faces["random_insertion"]
    return _with_intervals(faces)


def region_scores(right: NDArray[np.float64]) -> dict[str, float]:
    """Turn right answers (n, 5), as REGIONS names them, into accuracies with 95 % bootstrap intervals over the faces.

    kept_gain = au_kept - random_kept and removed_gain = random_removed - au_removed, in [-1, 1]: above 0 the network
    needs the AU region more than another region of its area.
    """
    faces = dict(zip(REGIONS, right.T, strict=True))
    faces["kept_gain"] = faces["au_kept"] - faces["random_kept"]
    faces["removed_gain"] = faces["random_removed"] - faces["au_removed"]
    return {**_with_intervals(faces), "images": len(right)}


def _with_intervals(faces: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    intervals = (mean_interval(values).columns(name) for name, values in faces.items())
    return {column: number for columns in intervals for column, number in columns.items()}


def mean_curves(curves: Mapping[str, Values]) -> pd.DataFrame:
    """Average every curve over the faces; a row per point: kind, measure, step, fraction (of the pixels), value."""
    rows = []
    for kind, values in curves.items():
        for measure, curve in values.items():
            fractions = road.FRACTIONS if measure.startswith("road") else np.linspace(0, 1, curve.shape[1])
            points = zip(fractions, curve.mean(0), strict=True)
            rows += [(kind, measure, step, fraction, value) for step, (fraction, value) in enumerate(points)]
    return pd.DataFrame(rows, columns=["kind", "measure", "step", "fraction", "value"])
