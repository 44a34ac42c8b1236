"""Noisy linear imputation: removed pixels are guessed from what is left around them (Rong et al., ICML 2022)."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

NOISE = 0.01  # deviation of the noise on imputed pixels, in the authors' code too
TOLERANCE = 1e-4  # of the equations; imputed values are then off by less than the noise
COARSEST = 4  # pixels; below it the guess is the mean
CACHED = 2**17  # values: on a CPU as many images are solved at a time as have these, so that they stay in its cache


def impute(images: Tensor, known: Tensor, noise: Tensor | None = None, tolerance: float = TOLERANCE) -> Tensor:
    """Replace the pixels of images (b, c, h, w) where `known` (b, h, w) is False by what their neighbours suggest.

    Every unknown pixel is the weighted mean of the pixels around it that lie in the image, known or not: weight 1/6 for
    the four beside it, 1/12 for the four at its corners. That is one linear system per image, here solved for all at
    once. NOISE * `noise` (b, c, h, w) is added to what is imputed. Unlike a flat or blurred patch, the result barely
    shows which pixels are gone, so that a network cannot read the shape of the mask. Raises ValueError if an image has
    no known pixel or a value is not finite. Source: Rong et al., A Consistent and Efficient Evaluation Strategy for
    Attribution Methods, ICML 2022, section 4.
    """
    if not known.flatten(1).any(1).all():
        raise ValueError("an image without any known pixel cannot be imputed")
    if not torch.isfinite(images).all():
        raise ValueError("an image with a value that is not finite cannot be imputed")
    filled = _solve(images, known[:, None], tolerance)
    return filled if noise is None else torch.where(known[:, None], filled, filled + NOISE * noise)


def _solve(images: Tensor, known: Tensor, tolerance: float) -> Tensor:
    """Solve at half the size first, which is a good guess where much is missing, then exactly from there."""
    weight = known.to(images)
    if min(images.shape[2:]) <= COARSEST:
        total = weight.sum((2, 3), keepdim=True)
        guess = (images * weight).sum((2, 3), keepdim=True) / total
    else:
        share, value = _halve(weight), _halve(images * weight)
        coarse = _solve(value / share.clamp(min=1e-6), share > 0, tolerance)
        guess = F.interpolate(coarse, images.shape[2:], mode="bilinear")
    size = max(CACHED // images[0].numel(), 1) if images.device.type == "cpu" else len(images)
    parts = zip(torch.split(torch.where(known, images, guess), size), torch.split(known, size), strict=True)
    return torch.cat([_conjugate_gradients(part, mask, tolerance) for part, mask in parts])


def _halve(maps: Tensor) -> Tensor:
    return F.avg_pool2d(maps, 2, ceil_mode=True, count_include_pad=False)


def _conjugate_gradients(guess: Tensor, known: Tensor, tolerance: float) -> Tensor:
    """Improve the unknown pixels of a guess (b, c, h, w) until every equation holds to `tolerance`.

    With W x the weighted sum of neighbours and d the sum of the weights that fall into the image, the equations are
    d x - W x = 0 at the unknown pixels: symmetric and positive definite. Vectors carry a ring of zeros, so that a shift
    along memory is a shift in the image.
    """
    x, unknown = F.pad(guess, (1, 1, 1, 1)), F.pad((~known).to(guess), (1, 1, 1, 1))
    degree = _neighbours(F.pad(torch.ones_like(guess[:1, :1]), (1, 1, 1, 1)))
    residual = unknown * (_neighbours(x) - degree * x)
    direction, length = residual.clone(), _dot(residual, residual)
    for _ in range(50 * max(guess.shape[2:])):
        if residual.abs().max() < tolerance:
            return x[..., 1:-1, 1:-1].contiguous()
        image = _neighbours(direction).neg_().addcmul_(degree, direction).mul_(unknown)
        step = length / _dot(direction, image).clamp(min=1e-30)
        x.addcmul_(step, direction)
        residual.addcmul_(step, image, value=-1)
        before, length = length, _dot(residual, residual)
        direction.mul_(length / before.clamp(min=1e-30)).add_(residual)
    raise RuntimeError(f"the imputation of {guess.shape[2]} x {guess.shape[3]} pixels did not settle")


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum((2, 3), keepdim=True)


def _neighbours(maps: Tensor) -> Tensor:
    """Add up the eight neighbours of each pixel of maps with a ring of zeros; what lands in the ring means nothing.

    The weights 1/12 (1 2 1 ; 2 0 2 ; 1 2 1) are 1/12 of the product of (1 2 1) with itself, less 4/12 of the centre.
    """
    flat, width = maps.flatten(), maps.shape[-1]
    rows = (flat[:-2] + flat[2:]).add_(flat[1:-1], alpha=2)
    squares = (rows[: -2 * width] + rows[2 * width :]).add_(rows[width:-width], alpha=2)
    total = torch.zeros_like(flat)
    torch.sub(squares, flat[width + 1 : -width - 1], alpha=4, out=total[width + 1 : -width - 1])
    return total.mul_(1 / 12).view_as(maps)
