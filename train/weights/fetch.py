"""Pretrained weights: fetch what a config needs into one folder, so that computing jobs never download.

    python -m train.weights --need backbone:resnet50 --need landmarks:face_alignment --out weights

A need is a key of `files.yaml` or `backbone:timm/<name>`. Every fetched file is checked before it gets its name:
against the first eight digits of its SHA-256, which its publisher put into the file name, or (timm) against the
SHA-256 that the Hugging Face hub states. A file that torch hub has fetched before is copied and checked in the same
way. Files that are already in the folder are checked by the digits in their names, those of timm networks not at all.
`manifest.csv` in the folder lists all files with their SHA-256.
"""

import csv
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple, cast

import yaml

from au_guidance.tables import suggestion
from pipeline.errors import UserError
from pipeline.storage.files import atomic_write, digest

FILES = Path(__file__).with_name("files.yaml")
MS1M = "backbone_ir50_ms1m_epoch120.pth"  # lies on Google Drive, which hands out no file without a person
ZOO = "face.evoLVe (https://github.com/ZhaoJ9014/face.evoLVe)"
MANIFEST = "manifest.csv"
HASH = "X-Linked-ETag"  # the header in which the hub states the SHA-256 of a large file


class Weights(NamedTuple):
    """A file with weights: where it comes from and its name below the folder."""

    need: str
    url: str
    name: str


def missing_file_message(path: Path, key: str) -> str:
    """Return the message for a file that a key names and that only a person can put in place."""
    if path.name == MS1M:
        return f"{key}: {path} is missing: download that file from the model zoo of {ZOO} to that place; or give none"
    return f"{key}: {path} does not exist; give imagenet, none or the path of a file with weights"


def known_weights() -> dict[str, str]:
    """Read the list of pretrained files: need -> address."""
    return cast(dict[str, str], yaml.safe_load(FILES.read_text(encoding="utf-8")))


def find_weights(need: str) -> Weights:
    """Look up a need; raise UserError that lists what is known."""
    known = known_weights()
    if need in known:
        return Weights(need, known[need], known[need].rpartition("/")[2])
    if need.startswith("backbone:timm/"):
        name = need.removeprefix("backbone:timm/")
        return Weights(need, _timm_url(name), f"timm/{name}.safetensors")
    raise UserError(f"there are no weights {need!r}{suggestion(need, [*known, 'backbone:timm/<name>'])}")


def local_weights(need: str, folder: Path) -> Path:
    """Return the file of a need below `folder`; raise UserError that says how to get it if it is not there."""
    weights = find_weights(need)
    path = folder / weights.name
    if not path.is_file():
        raise UserError(f"{path} is missing: run `snakemake weights`, or download {weights.url} to that place")
    return path


def missing_weights(needs: Iterable[str], folder: Path) -> list[Weights]:
    """List the files of the needs that are not below `folder`."""
    return [weights for weights in map(find_weights, needs) if not (folder / weights.name).is_file()]


def fetch(needs: Iterable[str], folder: Path) -> None:
    """Copy the missing files from torch hub's cache or download them, check all, and write the manifest.

    Raises one UserError that lists every file that could not be fetched, its address and where to put it.
    """
    needs = list(dict.fromkeys(needs))
    folder.mkdir(parents=True, exist_ok=True)
    failed = [
        f"{item.url} -> {folder / item.name} ({why})"
        for item in missing_weights(needs, folder)
        if (why := _get(item, folder))
    ]
    if failed:
        raise UserError(f"weights could not be downloaded; put these files in place by hand: {'; '.join(failed)}")
    rows = [(item.need, item.name, digest(folder / item.name), item.url) for item in map(find_weights, needs)]
    for _, name, checksum, _ in rows:
        if not checksum.startswith(_stated(name)):
            raise UserError(f"{folder / name} is damaged: its SHA-256 begins with {checksum[:8]}; delete it and retry")
    with atomic_write(folder / MANIFEST) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("need", "file", "sha256", "url"), *rows])


def _get(weights: Weights, folder: Path) -> str:
    """Copy or download one file; return why it failed, or an empty string."""
    from torch.hub import download_url_to_file, get_dir  # noqa: PLC0415  (two seconds that a check should not cost)

    stated, cached = _stated(weights.name), Path(get_dir(), "checkpoints", weights.name)
    try:
        with atomic_write(folder / weights.name) as temporary:
            if stated and cached.is_file() and digest(cached).startswith(stated):
                print(f"copying {cached}", flush=True)
                shutil.copyfile(cached, temporary)
            else:
                print(f"fetching {weights.url}", flush=True)
                expected = stated or _hub_sha256(weights.url)
                download_url_to_file(weights.url, str(temporary), hash_prefix=expected, progress=False)
    except (OSError, RuntimeError, ValueError, HTTPException) as error:
        return " ".join(str(error).split())[:100]
    return ""


def _stated(name: str) -> str:
    """Return the digits of its SHA-256 that a file's name holds, or an empty string."""
    digits = re.search(r"-([0-9a-f]{8,})\.", name)
    return digits[1] if digits else ""


def _timm_url(name: str) -> str:
    from timm.models import get_pretrained_cfg  # noqa: PLC0415  (as above)

    try:
        settings = get_pretrained_cfg(name)
    except RuntimeError:  # timm has the network, but no weights of this tag
        settings = None
    if settings is None or not settings.hf_hub_id:
        raise UserError(f"model.backbone: timm publishes no weights of {name!r}; see timm.list_pretrained()")
    return f"https://huggingface.co/{settings.hf_hub_id}/resolve/main/model.safetensors"


def _hub_sha256(url: str) -> str:
    """Ask the hub for the SHA-256 of a file; raise ValueError if it states none."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.build_opener(_StopAtHashRedirect).open(request, timeout=30) as answer:
            headers = answer.headers
    except urllib.error.HTTPError as answer:
        if HASH not in answer.headers:
            raise
        headers = answer.headers
    stated: str = headers.get(HASH, "").strip('"')
    if not re.fullmatch(r"[0-9a-f]{64}", stated):
        raise ValueError("the hub states no SHA-256 of the file")
    return stated


class _StopAtHashRedirect(urllib.request.HTTPRedirectHandler):
    """Follows redirects (of renamed networks) only until one states the hash; the file behind it does not."""

    def redirect_request(self, *answer: Any) -> Any:
        *_, headers, _ = answer
        return None if HASH in headers else super().redirect_request(*answer)
