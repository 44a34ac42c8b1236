"""What surrounds the face: a blurred room behind it; shoulders, long hair, neck, skull and ears, all ellipsoids."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.synthetic.canvas import Field
from pipeline.synthetic.sampling import Identity
from pipeline.synthetic.scene import Camera, Light

_GLOSS = 0.3


def paint_background(rng: np.random.Generator, size: int) -> Field:
    """Return a colour gradient with some blurred boxes and discs: (size, size, 3)."""
    grey = rng.uniform(25, 225, 2)
    first = grey[0] + rng.normal(size=3) * 22
    second = grey[1] + rng.normal(size=3) * 22
    ramp = np.linspace(0, 1, size)
    slope = ramp[:, None] * rng.normal() + ramp * rng.normal()
    slope = (slope - slope.min()) / (np.ptp(slope) + 1e-6)
    image = (first + (second - first) * slope[..., None]).astype(np.float32)
    for _ in range(rng.integers(0, 7)):
        _paint_thing(image, rng)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(3, 14) * size / 224)
    patches = rng.normal(size=(24, 24, 3)).astype(np.float32) * 4
    return np.asarray(image + cv2.resize(patches, (size, size), interpolation=cv2.INTER_CUBIC))


def _paint_thing(image: Field, rng: np.random.Generator) -> None:
    size = len(image)
    colour = tuple((rng.uniform(15, 235) + rng.normal(size=3) * 25).tolist())
    x, y, width, height = (rng.uniform(-0.2, 1, 4) * size).astype(int).tolist()
    if rng.random() < 0.5:
        cv2.rectangle(image, (x, y), (x + abs(width), y + abs(height)), colour, -1)
    else:
        cv2.circle(image, (x, y), int(abs(width) * 0.4) + 3, colour, -1)


def paint_body(
    image: Field,
    uncovered: Field,
    identity: Identity,
    *,
    camera: Camera,
    light: Light,
    chin: float,
    rng: np.random.Generator,
) -> None:
    """Paint far things first on an image (size, size, 3), where `uncovered` (size, size); `chin` is its y."""
    strands = _strands(rng, len(image))
    for solid in _solids(identity):
        pixels, alpha, place, normal = solid.cast(camera, uncovered)
        colour = light.shade(solid.colour, normal, _GLOSS)
        if solid.hairy:
            colour *= strands[pixels][:, None]
        if solid.shadowed:
            colour *= 0.45 + 0.55 * np.clip((place[1, :, None] - chin) / 0.6, 0, 1)
        image[pixels] += alpha[:, None] * (colour - image[pixels])


@dataclass(frozen=True, eq=False)
class _Ellipsoid:
    """An upright ellipsoid in the head frame."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    colour: Field
    hairy: bool = False
    shadowed: bool = False  # by the chin

    def cast(self, camera: Camera, uncovered: Field) -> tuple[tuple[Field, Field], Field, Field, Field]:
        """Cast a ray through each uncovered pixel that may show it; its rim is half a pixel soft.

        Returns of the n pixels that do: rows and columns, coverage (n,), place and unit normal (3, n).
        """
        centre, radii = np.array(self.centre, np.float32)[:, None], np.array(self.radii, np.float32)[:, None]
        rows, columns = _pixels_within(camera, centre, radii, uncovered)
        start, directions = camera.rays(columns + np.float32(0.5), rows + np.float32(0.5))
        scaled, offset = directions / radii, (start[:, None] - centre) / radii
        square, mixed = (scaled * scaled).sum(0), (offset * scaled).sum(0)
        inside = (mixed * mixed - square * ((offset * offset).sum() - 1)) / square  # below 0 the ray misses
        alpha = np.clip(inside * np.float32(0.5 * camera.density * radii[:2].min()) + np.float32(0.5), 0, 1)
        seen = (alpha > 0) & (inside > -0.5)
        distance = (-mixed - np.sqrt(np.maximum(inside, 0) * square)) / square
        place = start[:, None] + distance[seen] * directions[:, seen]
        normal = (place - centre) / np.square(radii)
        normal /= np.sqrt((normal * normal).sum(0))
        return (rows[seen], columns[seen]), alpha[seen], place, normal


def _pixels_within(camera: Camera, centre: Field, radii: Field, uncovered: Field) -> tuple[Field, Field]:
    """Return row and column of every uncovered pixel in the projection of an ellipsoid's bounding box."""
    corners = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), np.float32).reshape(3, 8)
    places = camera.project(corners * radii + centre)[0]
    left, top = np.clip(np.floor(places.min(1)) - 1, 0, len(uncovered)).astype(int)
    right, bottom = np.clip(np.ceil(places.max(1)) + 1, 0, len(uncovered)).astype(int)
    rows, columns = np.nonzero(uncovered[top:bottom, left:right])
    return rows + top, columns + left


def _solids(identity: Identity) -> list[_Ellipsoid]:
    """List shoulders, long hair, neck, skull and ears in painter's order."""
    width, skin = identity.face_width, identity.skin
    volume = 1 + (0 if identity.bald else identity.hair_volume)
    top = skin if identity.bald else identity.hair
    solids = [_Ellipsoid((0, 2.85, -0.25), (1.75, 1.05, 0.75), identity.clothes)]
    if identity.long_hair and not identity.bald:
        radii = (0.93 * width * volume, 1.35, 0.55)
        solids.append(_Ellipsoid((0, 0.45, -0.35), radii, identity.hair * np.float32(0.85), hairy=True))
    solids.append(_Ellipsoid((0, 1.6, -0.1), (0.60 * width, 1.6, 0.58), skin * np.float32(0.93), shadowed=True))
    radii = (0.82 * width * volume, 0.86 * volume, 0.95)
    solids.append(_Ellipsoid((0, -0.35, -0.05), radii, top, hairy=not identity.bald))
    for outwards in (-1, 1):
        ear = (0.82 * width * outwards, 0.16, -0.08)
        solids.append(_Ellipsoid(ear, (0.08, 0.24, 0.13), skin * np.float32(0.9)))
    return solids


def _strands(rng: np.random.Generator, size: int) -> Field:
    """Return the brightness (size, size) of hair that hangs down in strands."""
    noise = rng.normal(size=(size, size)).astype(np.float32)
    strands = cv2.GaussianBlur(noise, (0, 0), sigmaX=0.8, sigmaY=7 * size / 224)
    return np.asarray(1 + np.float32(0.13) * (strands / strands.std()))
