"""Make a plain timm network look where the expert looks: the AU loss in somebody else's training loop.

    python docs/examples/own_network.py --steps 60

Faces and their 68 landmarks are drawn here; with your own pictures the landmarks come from any detector.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
import timm
import torch
import torch.nn.functional as F  # noqa: N812

from au_guidance import attention, au_loss, cosine, render_batch, resize
from pipeline.geometry import rescale
from pipeline.sources import synthetic
from pipeline.synthetic.generate import generate

SIZE, WEIGHT = 96, 5.0


def faces(people: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Draw faces: images (n, 3, 96, 96), class ids (n,), landmarks (n, 68, 2) in their pixels."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), identities_train=people, identities_test=1, size=SIZE, seed=0)
        samples = [sample for sample in synthetic.read(Path(folder)) if sample.split == "train"]
        pictures = [cv2.imread(str(Path(folder, sample.path)))[..., ::-1] for sample in samples]
    points = [
        rescale(one.landmarks, picture.shape[1::-1], SIZE) for one, picture in zip(samples, pictures, strict=True)
    ]
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255 - 0.5
    return images, torch.tensor([int(sample.expression) for sample in samples]), np.stack(points)


def main() -> None:
    """Train with and without the AU term, and say how alike attention and AU heatmaps are."""
    parser = argparse.ArgumentParser(description="The AU loss on a plain timm network.")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--people", type=int, default=8)
    arguments = parser.parse_args()
    images, labels, points = faces(arguments.people)
    drawn = render_batch(points, labels.tolist(), SIZE, geometry="symmetric")  # (1) once, before the training
    heatmaps, valid = map(torch.from_numpy, drawn)

    for weight in (0.0, WEIGHT):
        torch.manual_seed(0)
        body = timm.create_model("resnet10t", features_only=True, out_indices=(2,))
        head = torch.nn.Linear(body.feature_info.channels()[-1], 7)
        optimiser = torch.optim.Adam([*body.parameters(), *head.parameters()], 1e-3)
        for _ in range(arguments.steps):
            some = torch.randperm(len(images))[:16]
            features = body(images[some])[0]  # (2) the feature maps that are to look there
            loss = F.cross_entropy(head(features.mean((2, 3))), labels[some])
            loss = loss + weight * au_loss(features, heatmaps[some], valid[some])  # (3) the term
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            maps = attention(body.eval()(images)[0])
        alike = cosine(maps, resize(heatmaps, maps.shape[-1]))[valid].mean()
        print(f"AU weight {weight:g}: cosine of attention and AU heatmap {alike:.3f}")


if __name__ == "__main__":
    main()
