"""The seven basic expressions and the AUs that make them up."""

from enum import IntEnum
from functools import cache

from au_guidance.tables import TableError, read_table


class Expression(IntEnum):
    """A basic expression; its value is the class id, the same as in the published checkpoints."""

    NEUTRAL = 0
    HAPPINESS = 1
    SURPRISE = 2
    FEAR = 3
    ANGER = 4
    DISGUST = 5
    SADNESS = 6

    @classmethod
    def parse(cls, name: str) -> "Expression":
        """Return the expression with this name in any case; raise ValueError that lists the names."""
        try:
            return cls[name.strip().upper()]
        except KeyError:
            known = ", ".join(member.label for member in cls)
            raise ValueError(f"unknown expression {name!r}; known: {known}") from None

    @property
    def label(self) -> str:
        """The lower-case name used in files, tables and figures."""
        return self.name.lower()


# The six that have action units, in the paper's alphabetical order of rows and pictures.
SIX = tuple(sorted(set(Expression) - {Expression.NEUTRAL}, key=lambda expression: expression.label))
SEVEN = (*SIX, Expression.NEUTRAL)  # the order of classes wherever a reader sees all of them


@cache
def codebook(name: str) -> dict[Expression, tuple[int, ...]]:
    """Return which AUs make up each expression, from `au_guidance/codebooks/<name>.yaml`; Neutral has none.

    Raises TableError if the codebook does not exist or names an unknown expression.
    """
    table = read_table("codebooks", name)
    try:
        listed = {Expression.parse(label): tuple(aus) for label, aus in table["expressions"].items()}
    except ValueError as error:
        raise TableError(f"au_guidance/codebooks/{name}.yaml: {error}") from None
    return {expression: listed.get(expression, ()) for expression in Expression}


# Names of the AUs in the Facial Action Coding System (Ekman, Friesen and Hager, 2002).
AU_NAMES = {
    1: "inner brow raiser", 2: "outer brow raiser", 4: "brow lowerer", 5: "upper lid raiser",
    6: "cheek raiser", 7: "lid tightener", 9: "nose wrinkler", 10: "upper lip raiser",
    12: "lip corner puller", 14: "dimpler", 15: "lip corner depressor", 16: "lower lip depressor",
    17: "chin raiser", 20: "lip stretcher", 23: "lip tightener", 24: "lip pressor", 25: "lips part",
    26: "jaw drop", 27: "mouth stretch", 43: "eyes closed",
}  # fmt: skip
# The part of the face on which an AU is seen: several AUs of one part can hardly be told apart on a coarse map.
AU_PARTS = {
    1: "brows", 2: "brows", 4: "brows", 5: "eyes", 6: "cheeks", 7: "eyes", 9: "nose", 10: "mouth", 12: "mouth corners",
    14: "mouth corners", 15: "mouth corners", 16: "mouth", 17: "chin", 20: "mouth corners", 23: "mouth", 24: "mouth",
    25: "mouth", 26: "mouth", 27: "mouth", 43: "eyes",
}  # fmt: skip
