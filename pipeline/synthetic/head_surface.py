"""The head as a grid of points: rows along the outline of the face, columns from ear to ear over the front."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.synthetic.canvas import Canvas, Field, spline
from pipeline.synthetic.sampling import Identity

_SKULL = [(0.02, -1.20), (0.30, -1.16), (0.54, -1.03), (0.71, -0.80), (0.79, -0.54), (0.82, -0.28)]
_ROUNDNESS = 2.6  # exponent of a row's cross-section; 2 would be an ellipse
_RESTING_CHIN = 1.295

# fmt: off
# y: z of the midline, and of the row's ends (the depth of the jaw bone)
_FRONT = {
    -1.21: 0.30, -1.15: 0.46, -1.0: 0.66, -0.75: 0.82, -0.5: 0.90, -0.25: 0.93, -0.05: 0.90,
    0.2: 0.89, 0.55: 0.91, 0.85: 0.93, 1.1: 0.91, 1.25: 0.86, 1.6: 0.82,
}
_END = {
    -1.2: 0, 0: 0, 0.2: 0.03, 0.41: 0.09, 0.63: 0.18, 0.84: 0.30, 1.02: 0.46, 1.16: 0.62, 1.26: 0.75, 1.295: 0.80,
}
# fmt: on


@dataclass(frozen=True, eq=False)
class Profile:
    """Rows of a head from the crown to the chin, each (n,): half the width, y, z of the midline and of the ends."""

    half_width: Field
    y: Field
    front: Field
    end: Field

    @classmethod
    def of(cls, identity: Identity, landmarks: Field) -> "Profile":
        """Build the rows that pass through the skull and the displaced jaw (68, 2); a dropped jaw makes them longer."""
        left, right = landmarks[0:8], landmarks[16:8:-1]
        jaw = np.stack([(right[:, 0] - left[:, 0]) / 2, (left[:, 1] + right[:, 1]) / 2], 1)
        chin = (0.001, landmarks[8, 1])
        outline = spline(np.vstack([np.array(_SKULL) * (identity.face_width, 1), jaw, chin]), 30)
        half_width, y = outline.T
        resting_y = y - (landmarks[8, 1] - _RESTING_CHIN) * np.clip((y - 0.6) / 0.7, 0, 1)
        front = np.interp(resting_y, list(_FRONT), list(_FRONT.values()))
        return cls(half_width, y, front, np.interp(resting_y, list(_END), list(_END.values())))

    def resampled(self, density: float) -> "Profile":
        """Return `density` rows per unit of outline; unequal spacing would show as bands on the forehead."""
        steps = np.hypot(np.diff(self.half_width), np.diff(self.y))
        travelled = np.concatenate([[0], np.cumsum(steps)])
        places = np.linspace(0, travelled[-1], int(travelled[-1] * density))
        columns = (self.half_width, self.y, self.front, self.end)
        return Profile(*(np.interp(places, travelled, column).astype(np.float32) for column in columns))

    def depth(self, points: Field) -> Field:
        """Return z of the smooth face at frontal places (n, 2)."""
        half_width, front, end = (
            np.interp(points[:, 1], self.y, row) for row in (self.half_width, self.front, self.end)
        )
        across = np.minimum(np.abs(points[:, 0]) / np.maximum(half_width, 1e-3), 1)
        return end + (front - end) * np.sqrt(1 - across**_ROUNDNESS)


@dataclass(frozen=True, eq=False)
class Surface:
    """A head's grid: position and unit normal (3, rows, columns), colour (rows, columns, 3), gloss (rows, columns).

    `row_y` (rows,) is each row's y before hair was put on.
    """

    position: Field
    normal: Field
    colour: Field
    gloss: Field
    row_y: Field


def build_head(
    profile: Profile, canvas: Canvas, identity: Identity, *, resolution: float, rng: np.random.Generator
) -> Surface:
    """Wrap the painted canvas around the head, at `resolution` pixels per eye distance, and put short hair on it."""
    rows = profile.resampled(1.25 * resolution)
    angle = np.linspace(-np.pi / 2, np.pi / 2, int(2.7 * 1.15 * resolution), dtype=np.float32)
    across = np.sin(angle)
    smooth_front = cv2.GaussianBlur(
        rows.front[:, None], (0, 0), sigmaX=0.1, sigmaY=0.06 * resolution, borderType=cv2.BORDER_REPLICATE
    )
    end = rows.end[:, None]
    x = rows.half_width[:, None] * across
    y = np.repeat(rows.y[:, None], len(angle), 1)
    z = end + (smooth_front - end) * np.sqrt(np.clip(1 - np.abs(across) ** np.float32(_ROUNDNESS), 0, 1))
    height, gloss, colour = _look_up(canvas, x, y)
    edge: Field = np.clip((1 - np.abs(across)) / 0.12, 0, 1)
    z += height * (edge * edge * (3 - 2 * edge))  # none at the silhouette, where relief would tear the surface
    position = np.stack([x, y, z])
    head = Surface(position, np.empty_like(position), colour, gloss, rows.y)
    if not identity.bald:
        _grow_hair(head, identity, rng)
    head.normal[:] = _normals(position)
    return head


def _look_up(canvas: Canvas, x: Field, y: Field) -> tuple[Field, Field, Field]:
    columns, rows = canvas.to_pixels(np.stack([x, y], -1)).transpose(2, 0, 1)
    columns, rows = cv2.convertMaps(np.ascontiguousarray(columns), np.ascontiguousarray(rows), cv2.CV_16SC2)
    sheets = (canvas.height, canvas.gloss, canvas.colour)
    height, gloss, colour = (
        cv2.remap(sheet, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for sheet in sheets
    )
    return height, gloss, colour


def _grow_hair(head: Surface, identity: Identity, rng: np.random.Generator) -> None:
    """Colour the skull above a wavy hair line and lift it; nothing is lifted near the ears, where gaps would open."""
    noise = rng.normal(size=head.gloss.shape).astype(np.float32)
    above = np.searchsorted(head.row_y, 0.12)  # rows that can have hair
    (x, y, z), colour, gloss = head.position[:, :above], head.colour[:above], head.gloss[:above]
    strands = cv2.GaussianBlur(noise[:above], (0, 0), sigmaX=0.8, sigmaY=9)
    temples = np.clip(np.abs(x - identity.parting * 0.3) / identity.face_width - 0.42, 0, 1)
    line = identity.hair_line + 0.03 * np.sin(x * 9 + identity.seed % 7) + 4.2 * temples**2
    cover = np.clip((line - y) / 0.05, 0, 1) * np.clip((0.12 - y) / 0.1, 0, 1)
    shade = identity.hair * (1 + np.float32(0.22) * (strands / strands.std())[..., None])
    colour += cover[..., None] * (shade - colour)
    gloss += cover * (np.float32(0.6) - gloss)
    lift = identity.hair_volume * np.clip((line - y) / 0.35, 0, 1) * np.clip((-0.1 - y) / 0.4, 0, 1)
    x *= 1 + lift
    y += (y + 0.2) * lift
    z *= 1 + lift / 2


def _normals(position: Field) -> Field:
    """Return unit normals (3, rows, columns) from the differences between neighbours."""
    along_row, along_column = np.empty_like(position), np.empty_like(position)
    along_row[:, :, 1:-1] = position[:, :, 2:] - position[:, :, :-2]
    along_row[:, :, [0, -1]] = along_row[:, :, [1, -2]]
    along_column[:, 1:-1] = position[:, 2:] - position[:, :-2]
    along_column[:, [0, -1]] = along_column[:, [1, -2]]
    (ux, uy, uz), (vx, vy, vz) = along_row, along_column
    normal = np.stack([uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx])
    normal /= np.sqrt((normal * normal).sum(0)) + np.float32(1e-9)
    return normal
