"""The camera's geometry and the light: where points of the head frame land in the image, and how bright they are."""

import numpy as np

from pipeline.synthetic.canvas import Field
from pipeline.synthetic.sampling import View

FOCAL_LENGTH = 9.0  # eye distances between the camera and the point that the head turns about
PIVOT = np.array([0, 0.35, 0.1], np.float32)


def dot(matrix: Field, points: Field) -> Field:
    """Multiply a vector (3,) or matrix (m, 3) with points (3, n); BLAS would start threads that cost more than this."""
    return np.asarray(np.einsum("...i,ij->...j", matrix, points))


class Camera:
    """A weak-perspective camera; image coordinates have 0 at the outer edge of the first pixel.

    `rotation` (3, 3) turns the head frame to the camera; `density` is pixels per eye distance; `centre` (2,) is where
    the pivot appears.
    """

    def __init__(self, view: View, size: int) -> None:
        """Set up the camera of a view for a square image of `size` pixels."""
        self.rotation, self.density = _rotation(view), view.scale * size
        self.centre = np.array([0.5 + view.shift[0], 0.57 + view.shift[1]], np.float32) * size

    def project(self, points: Field) -> tuple[Field, Field]:
        """Return the image place (2, n) and the depth (n,), nearer is larger, of points (3, n)."""
        x, y, depth = dot(self.rotation, points - PIVOT[:, None])
        enlarged = np.float32(FOCAL_LENGTH * self.density) / (FOCAL_LENGTH - depth)
        return np.stack([x * enlarged + self.centre[0], y * enlarged + self.centre[1]]), depth

    def rays(self, columns: Field, rows: Field) -> tuple[Field, Field]:
        """Return the camera's place (3,) and the directions (3, n) through image places, both in the head frame."""
        x, y = (columns - self.centre[0]) / self.density, (rows - self.centre[1]) / self.density
        directions = np.stack([x, y, np.full_like(x, -FOCAL_LENGTH)])
        camera = np.array([0, 0, FOCAL_LENGTH], np.float32) @ self.rotation + PIVOT
        return camera, dot(self.rotation.T, directions.astype(np.float32))


class Light:
    """A lamp, the sky and the exposure of a view; directions (3,) in the head frame.

    `to_gloss` points half-way between lamp and camera.
    """

    def __init__(self, view: View, rotation: Field) -> None:
        """Set up a view's light for a head turned by `rotation`."""
        azimuth, elevation = np.radians((view.light_azimuth, view.light_elevation))
        lamp = np.array([np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
        half_way = lamp + np.array([0, 0, 1])
        half_way /= np.linalg.norm(half_way)
        self.to_lamp, self.to_gloss = (vector.astype(np.float32) @ rotation for vector in (lamp, half_way))
        self.to_camera, self.down, self.view = rotation[2], rotation[1], view

    def shade(self, colour: Field, normal: Field, gloss: Field | float) -> Field:
        """Return the lit colour (n, 3) of places with colour (n, 3) or (3,), normals (3, n) and gloss (n,), gamma 2."""
        view = self.view
        diffuse = np.clip(dot(self.to_lamp, normal) * np.float32(0.85) + np.float32(0.15), 0, 1)
        sky = np.float32(0.75) - np.float32(0.25) * dot(self.down, normal)
        received = np.float32(view.ambient) * sky + np.float32(1.25 - view.ambient) * diffuse
        eighth = np.square(np.square(np.square(np.clip(dot(self.to_gloss, normal), 0, 1))))
        shine = eighth * np.square(eighth) * np.float32(view.specular * 0.5) * gloss  # to the 24th power
        linear = np.square(colour * np.float32(1 / 255)) * received[:, None] + shine[:, None]
        linear *= view.tint.astype(np.float32)
        return np.asarray(np.sqrt(np.clip(linear, 0, 1.5)) * np.float32(255 * view.exposure))


def _rotation(view: View) -> Field:
    yaw, pitch, roll = np.radians((view.yaw, view.pitch, view.roll))
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    nod = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    tilt = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return np.asarray(tilt @ nod @ turn, np.float32)
