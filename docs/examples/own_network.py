"""Guide a plain timm network with the AU loss, in a training loop of one's own.

    python -m docs.examples.own_network --steps 60

The project draws the faces and their 68 landmarks here; for other images any landmark detector provides them.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import timm
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from au_guidance import attention, au_loss, cosine, render_batch, resize
from pipeline.geometry import rescale
from pipeline.sources import synthetic
from pipeline.synthetic.generate import generate

SIZE, WEIGHT = 96, 5.0


def draw_faces(people: int) -> tuple[Tensor, Tensor, NDArray[np.float64]]:
    """Draw faces: images (n, 3, 96, 96), class ids (n,), landmarks (n, 68, 2) in their pixels."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), identities_train=people, identities_test=1, size=SIZE, seed=0)
        samples = [sample for sample in synthetic.read(Path(folder)) if sample.split == "train"]
        pictures = [cv2.imread(str(Path(folder, sample.path)))[..., ::-1] for sample in samples]
    points = [
        rescale(sample.landmarks, picture.shape[1::-1], SIZE) for sample, picture in zip(samples, pictures, strict=True)
    ]
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255 - 0.5
    return images, torch.tensor([int(sample.expression) for sample in samples]), np.stack(points)


def train(images: Tensor, labels: Tensor, heatmaps: Tensor, valid: Tensor, *, weight: float, steps: int) -> Tensor:
    """Train a small network; return its attention maps (n, h, w)."""
    torch.manual_seed(0)
    body = timm.create_model("resnet10t", features_only=True, out_indices=(2,))
    head = torch.nn.Linear(body.feature_info.channels()[-1], 7)
    optimiser = torch.optim.Adam([*body.parameters(), *head.parameters()], 1e-3)
    for _ in range(steps):
        batch = torch.randperm(len(images))[:16]
        features = body(images[batch])[0]  # (2) the features whose attention is guided
        loss = F.cross_entropy(head(features.mean((2, 3))), labels[batch])
        loss = loss + weight * au_loss(features, heatmaps[batch], valid[batch])  # (3) the AU term
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return attention(body.eval()(images)[0])


def main() -> None:
    """Train with and without the AU term and print the cosine of attention and AU heatmaps."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.examples.own_network",
        description="Train a plain timm network on drawn faces without and with the AU loss.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--steps", type=int, default=60, help="training steps")
    parser.add_argument("--people", type=int, default=8, help="people to draw, seven faces each")
    arguments = parser.parse_args()
    images, labels, points = draw_faces(arguments.people)
    drawn = render_batch(points, labels.tolist(), SIZE, geometry="symmetric")  # (1) once, before training
    heatmaps, valid = map(torch.from_numpy, drawn)
    for weight in (0.0, WEIGHT):
        maps = train(images, labels, heatmaps, valid, weight=weight, steps=arguments.steps)
        mean = cosine(maps, resize(heatmaps, maps.shape[-1]))[valid].mean()
        print(f"AU weight {weight:g}: cosine of attention and AU heatmap {mean:.3f}")


if __name__ == "__main__":
    main()
