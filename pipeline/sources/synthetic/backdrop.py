"""All that is behind or around the face: a blurred room, and shoulders, long hair, neck, skull and ears."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.sources.synthetic.canvas import Field
from pipeline.sources.synthetic.sampling import Identity
from pipeline.sources.synthetic.scene import Camera, Light


def paint_background(generator: np.random.Generator, size: int) -> Field:
    """Return a colour gradient with some blurred boxes and discs: (size, size, 3)."""
    first, second = (generator.uniform(25, 225, 2)[:, None] + np.zeros(3)).copy()
    first += generator.normal(size=3) * 22
    second += generator.normal(size=3) * 22
    ramp = np.linspace(0, 1, size)
    slope = ramp[:, None] * generator.normal() + ramp * generator.normal()
    slope = (slope - slope.min()) / (np.ptp(slope) + 1e-6)
    image = (first + (second - first) * slope[..., None]).astype(np.float32)
    for _ in range(generator.integers(0, 7)):
        _paint_thing(image, generator)
    image = cv2.GaussianBlur(image, (0, 0), generator.uniform(3, 14) * size / 224)
    patches = generator.normal(size=(24, 24, 3)).astype(np.float32) * 4
    return image + cv2.resize(patches, (size, size), interpolation=cv2.INTER_CUBIC)


def paint_body(
    image: Field, identity: Identity, camera: Camera, light: Light, *, chin: float, texture: np.random.Generator
) -> None:
    """Paint what the face's own surface leaves out, far things first, on an image (size, size, 3); `chin` is its y."""
    strands = _strands(texture, len(image))
    for solid in _solids(identity):
        solid.paint(image, camera, light, strands=strands, chin=chin)


@dataclass(frozen=True, eq=False)
class _Ellipsoid:
    """An upright ellipsoid in the head frame."""

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    colour: Field
    hairy: bool = False
    shadowed: bool = False  # by the chin

    def paint(self, image: Field, camera: Camera, light: Light, *, strands: Field, chin: float) -> None:
        """Cast a ray through each pixel that may show it; its rim is half a pixel soft."""
        rows, columns = self._pixels(camera, len(image))
        if not len(rows):
            return
        camera_place, directions = camera.rays(columns + np.float32(0.5), rows + np.float32(0.5))
        alpha, distance = self._hit(camera_place, directions, camera.density)
        seen = alpha > 0
        rows, columns, alpha = rows[seen], columns[seen], alpha[seen, None]
        place = camera_place[:, None] + distance[seen] * directions[:, seen]
        normal = (place - np.array(self.centre, np.float32)[:, None]) / np.square(self._radii())
        normal /= np.sqrt((normal * normal).sum(0))
        colour = light.shade(self.colour, normal, 0.3)
        if self.hairy:
            colour *= strands[rows, columns, None]
        if self.shadowed:
            colour *= 0.45 + 0.55 * np.clip((place[1, :, None] - chin) / 0.6, 0, 1)
        image[rows, columns] += alpha * (colour - image[rows, columns])

    def _pixels(self, camera: Camera, size: int) -> tuple[Field, Field]:
        """Return row and column of every pixel within the projected box around the ellipsoid."""
        corners = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), np.float32).reshape(3, 8)
        places = camera.project(corners * self._radii() + np.array(self.centre, np.float32)[:, None])[0]
        left, top = np.clip(np.floor(places.min(1)) - 1, 0, size).astype(int)
        right, bottom = np.clip(np.ceil(places.max(1)) + 1, 0, size).astype(int)
        rows, columns = np.mgrid[top:bottom, left:right]
        return rows.ravel(), columns.ravel()

    def _hit(self, start: Field, directions: Field, density: float) -> tuple[Field, Field]:
        """Return coverage and distance, in lengths of the ray, of each ray's first hit."""
        radii = self._radii()
        scaled = directions / radii
        offset = (start - np.array(self.centre, np.float32)) / radii[:, 0]
        square, mixed = (scaled * scaled).sum(0), offset @ scaled
        inside = (mixed * mixed - square * np.float32(offset @ offset - 1)) / square
        alpha = np.clip(inside * np.float32(0.5 * density * radii[:2].min()) + np.float32(0.5), 0, 1) * (inside > -0.5)
        return alpha, (-mixed - np.sqrt(np.maximum(inside, 0) * square)) / square

    def _radii(self) -> Field:
        return np.array(self.radii, np.float32)[:, None]


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


def _strands(texture: np.random.Generator, size: int) -> Field:
    """Return the brightness (size, size) of hair that hangs down in strands."""
    noise = texture.normal(size=(size, size)).astype(np.float32)
    strands = cv2.GaussianBlur(noise, (0, 0), sigmaX=0.8, sigmaY=7 * size / 224)
    return 1 + np.float32(0.13) * (strands / strands.std())


def _paint_thing(image: Field, generator: np.random.Generator) -> None:
    size = len(image)
    colour = tuple((generator.uniform(15, 235) + generator.normal(size=3) * 25).tolist())
    x, y, width, height = (generator.uniform(-0.2, 1, 4) * size).astype(int).tolist()
    if generator.random() < 0.5:
        cv2.rectangle(image, (x, y), (x + abs(width), y + abs(height)), colour, -1)
    else:
        cv2.circle(image, (x, y), int(abs(width) * 0.4) + 3, colour, -1)
