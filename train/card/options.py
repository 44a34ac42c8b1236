"""The options of methods: what they may hold, declared at the arguments of a constructor and read without importing it.

A method takes its options as keyword-only arguments, annotated with the names below or with plain types, so that a card
is checked without torch before anything runs. Types are strict: "0.5" is not a number and 3.0 is not a count.
"""

import ast
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from au_guidance.tables import suggestion
from pipeline.plugins import ROOT

SUFFIXES = (".pth", ".pt", ".tar", ".safetensors")  # of a file with weights


def check_start(value: str, *known: str) -> str:
    """Return what a network starts from, one of the `known` names or a file; raise ValueError that lists them."""
    if value not in known and not value.endswith(SUFFIXES):
        choices = f"{suggestion(value, known)}, or a file ending in {' '.join(SUFFIXES)}"
        raise ValueError(f"there are no weights {value!r}{choices}")
    return value


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError(f"an odd number of pixels is needed, so that there is one in the middle; not {value}")
    return value


Mode = Literal["original", "published"]  # as the method's own paper says, or as the published code does
Count = Annotated[int, Field(ge=1)]
Window = Annotated[int, Field(ge=1, le=27), AfterValidator(_odd)]  # inside a map of 28 px, as layer 5 has at 224 px
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(gt=0, le=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Start = Annotated[str, AfterValidator(lambda value: check_start(value, "imagenet", "none"))]


@cache
def method_source(method: str) -> ast.Module:
    """Parse the file of a method."""
    return ast.parse((ROOT / "train" / "methods" / f"{method}.py").read_text(encoding="utf-8"))


def method_constant(method: str, name: str) -> Any:
    """Return a constant of a method's file; None where the file has none of this name."""
    for part in method_source(method).body:
        if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == name:
            return ast.literal_eval(part.value)
    return None


def method_options(name: str) -> list[str]:
    """List the options of a method."""
    return list(options_model(name).model_fields)


@cache
def options_model(method: str) -> type[BaseModel]:
    """Return the pydantic model that checks the options of a method."""
    fields: dict[str, Any] = {argument.arg: (_kind(argument.annotation), None) for argument in _arguments(method)}
    return create_model(method, __config__=ConfigDict(strict=True, allow_inf_nan=False), **fields)


def _arguments(method: str) -> list[ast.arg]:
    """List the keyword-only arguments of a method's constructor; one that has none has those of its parent."""
    tree = method_source(method)
    parents = {
        alias.asname or alias.name: part.module.rpartition(".")[2]
        for part in tree.body
        if isinstance(part, ast.ImportFrom) and part.module and part.module.startswith("train.methods.")
        for alias in part.names
    }
    for kind in (part for part in tree.body if isinstance(part, ast.ClassDef)):
        bases = {base.id for base in kind.bases if isinstance(base, ast.Name)}
        if bases & {"Method", *parents}:
            functions = [part for part in kind.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
            own = [argument for function in functions for argument in function.args.kwonlyargs]
            return own or [argument for base in bases & set(parents) for argument in _arguments(parents[base])]
    return []


def _kind(annotation: ast.expr | None) -> Any:
    """Look an annotation up among the names of this file; any other annotation is not checked here."""
    try:
        return eval(ast.unparse(annotation), globals()) if annotation else Any
    except NameError:
        return Any
