"""AffectNet's expression ids, as both of its generations use them."""

import logging
from collections.abc import Mapping

from au_guidance.expressions import Expression
from pipeline.errors import UserError

# The id that AffectNet gives to each of the seven (paper, section 4.1, leaves the others out).
_NAMES = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger")
EXPRESSIONS = {label: Expression.parse(name) for label, name in enumerate(_NAMES)}
OTHERS = {7: "Contempt", 8: "None", 9: "Uncertain", 10: "No-Face"}  # not among the seven; 0..6 are

log = logging.getLogger(__name__)


def expression_id(text: str, where: str) -> int:
    """Read an id 0..10 from text such as "3" or "3.0"; raise UserError that names the place if it is none."""
    number, _, rest = text.strip().partition(".")
    if number.isdecimal() and int(number) <= max(OTHERS) and not rest.strip("0"):
        return int(number)
    raise UserError(f"{where}: expected an expression 0..{max(OTHERS)}, found {text!r}")


def report_left_out(counts: Mapping[int, int]) -> None:
    """Log how many images were left out because of their id."""
    if counts:
        parts = [f"{counts[label]} {OTHERS[label]} ({label})" for label in sorted(counts)]
        log.warning("left out: %d images that show none of the seven: %s", sum(counts.values()), ", ".join(parts))
