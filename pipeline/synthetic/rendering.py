"""Turn a person, action units and a view into an image and its true landmarks."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.synthetic.canvas import Canvas, Field
from pipeline.synthetic.face_shape import Portrait, at_rest, with_action_units
from pipeline.synthetic.head_surface import Profile, Surface, build_head
from pipeline.synthetic.painting.face import paint_face
from pipeline.synthetic.sampling import Identity, Intensities, View
from pipeline.synthetic.scene import Camera, Light, dot
from pipeline.synthetic.surroundings import paint_background, paint_body

SUPERSAMPLING = 1.5
_SEEN_THROUGH = 0.08  # a point this far behind its neighbours is the far side, seen through a gap
_FAR = -9.0


class Picture(NamedTuple):
    """A photograph, uint8 RGB (size, size, 3), and its true 68 landmarks (68, 2): pixels, an integer is a centre."""

    image: NDArray[np.uint8]
    landmarks: NDArray[np.float32]


def render(identity: Identity, intensities: Intensities, view: View, size: int) -> Picture:
    """Photograph a face; the same arguments give the same pixels. JPEG compression is the caller's."""
    rest = at_rest(identity)
    landmarks = with_action_units(rest, intensities).astype(np.float32)
    canvas = paint_face(Portrait(identity, intensities, view.gaze, rest.astype(np.float32), landmarks))
    profile = Profile.of(identity, landmarks)
    camera = Camera(view, size)
    light = Light(view, camera.rotation)
    hair_rng = np.random.default_rng(identity.seed + 1)
    camera_rng = np.random.default_rng(view.seed)
    head = build_head(profile, canvas, identity, resolution=camera.density * SUPERSAMPLING, rng=hair_rng)
    places, depth = camera.project(head.position.reshape(3, -1))
    layer = _draw_head(head, places, depth, light, size)
    image = paint_background(camera_rng, size)
    chin, uncovered = float(landmarks[8, 1]), layer[..., 3] < 1
    paint_body(image, uncovered, identity, camera=camera, light=light, chin=chin, rng=hair_rng)
    image = image * (1 - layer[..., 3:]) + layer[..., :3]
    points = _project_landmarks(landmarks, canvas, profile, camera)
    points[:17] = _jaw_on_silhouette(landmarks, head, places, camera)
    return Picture(_expose(image, view, camera_rng), (points - 0.5).astype(np.float32))


def _draw_head(head: Surface, places: Field, depth: Field, light: Light, size: int) -> Field:
    """Return the head's surface alone, premultiplied with its coverage: (size, size, 4)."""
    side = int(size * SUPERSAMPLING)
    normal = head.normal.reshape(3, -1)
    facing = np.flatnonzero(dot(light.to_camera, normal) > -0.1)
    seen, pixels, covered = _find_visible(places * np.float32(side / size), depth, facing, side)
    colour = light.shade(head.colour.reshape(-1, 3)[seen], normal[:, seen], head.gloss.ravel()[seen])
    return cv2.resize(_fill_holes(pixels, colour, covered), (size, size), interpolation=cv2.INTER_AREA)


def _find_visible(
    places: Field, depth: Field, candidates: NDArray[np.intp], side: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], Field]:
    """Sort out which candidates among the points, with places (2, n) in pixels and depth (n,), are seen.

    Returns their indices (k,), the flat indices (k,) of their pixels, and (side, side) 1 in the outline of the whole
    cloud, also where a pixel got no point.
    """
    columns, rows = np.floor(places[:, candidates]).astype(np.int32)
    inside = (columns >= 0) & (columns < side) & (rows >= 0) & (rows < side)
    points = candidates[inside]
    pixels = (rows * side + columns)[inside]
    levels = np.clip((depth[points] + 2) * 12000, 0, 65535).astype(np.uint16)
    order = np.argsort(levels, kind="stable")
    nearest = np.full(side * side, -1)
    nearest[pixels[order]] = points[order]  # of several points in a pixel the last one stays
    hit = nearest >= 0
    surface = np.where(hit, depth[nearest], np.float32(_FAR)).reshape(side, side)
    closed = cv2.erode(cv2.dilate(surface, np.ones((3, 3))), np.ones((3, 3)))
    covered = cv2.morphologyEx(hit.reshape(side, side).astype(np.float32), cv2.MORPH_CLOSE, np.ones((5, 5)))
    kept = np.flatnonzero(hit & (surface >= closed - _SEEN_THROUGH).ravel())
    return nearest[kept], kept, covered


def _fill_holes(pixels: NDArray[np.intp], colour: Field, covered: Field) -> Field:
    """Return the points' colours (k, 3) as a premultiplied image (side, side, 4) with the holes filled."""
    layer = np.zeros((*covered.shape, 4), np.float32)
    flat = layer.reshape(-1, 4)
    flat[pixels, :3] = colour
    flat[pixels, 3] = 1
    smooth = cv2.GaussianBlur(layer, (0, 0), 1.0)
    holes = (layer[..., 3] == 0) & (covered > 0)
    layer[holes] = smooth[holes] / np.maximum(smooth[holes][:, 3:], 1e-4)
    layer[..., :3] *= covered[..., None]
    layer[..., 3] = covered
    return layer


def _expose(image: Field, view: View, rng: np.random.Generator) -> NDArray[np.uint8]:
    if view.blur > 0.2:
        image = cv2.GaussianBlur(image, (0, 0), view.blur)
    noise = rng.normal(size=image.shape) * view.noise
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _project_landmarks(landmarks: Field, canvas: Canvas, profile: Profile, camera: Camera) -> Field:
    """Return where the landmarks (68, 2) lie on the relief of the face, in the image: (68, 2)."""
    columns, rows = canvas.to_pixels(landmarks).T
    relief = cv2.remap(canvas.height, columns[None].copy(), rows[None].copy(), cv2.INTER_LINEAR)[0]
    depth = profile.depth(landmarks) + relief
    return camera.project(np.stack([*landmarks.T, depth]).astype(np.float32))[0].T


def _jaw_on_silhouette(landmarks: Field, head: Surface, places: Field, camera: Camera) -> Field:
    """Return the jaw's 17 points in the image: annotators put them on the visible outline, not on the bone.

    Each is the outermost place of its row along the turned x axis; the chin is the middle of the last row.
    """
    grid = places.reshape(2, *head.gloss.shape)
    sideways = camera.rotation[:2, 0] / np.linalg.norm(camera.rotation[:2, 0])
    points = np.empty((17, 2), np.float32)
    for landmark in range(17):
        row = grid[:, np.argmin(np.abs(head.row_y - landmarks[landmark, 1]))]
        along = sideways @ row
        points[landmark] = row[:, along.argmin() if landmark < 8 else along.argmax()]
    points[8] = grid[:, -1, grid.shape[2] // 2]
    return points
