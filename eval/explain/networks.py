"""The networks that can explain: a checkpoint, the folder of a run, or a folder for the Hugging Face hub."""

from pathlib import Path

from eval.export import hub
from pipeline.errors import UserError
from pipeline.plugins import ROOT
from train.checkpoints import checkpoint

OURS = ROOT / "models" / "photographs"  # the network that comes along
CHECKPOINT = "checkpoint.safetensors"
KINDS = f"a checkpoint, the folder of a run (with {CHECKPOINT}) or a folder of {hub.MAKER} --hub"


def network_file(path: Path) -> Path:
    """Return the file that holds the network's weights; raise UserError if a folder has none."""
    if not path.is_dir():
        return path
    for name in (CHECKPOINT, hub.MODEL):
        if (path / name).is_file():
            return path / name
    raise UserError(f"{path} holds no network; give {KINDS}")


def load_network(path: str | Path) -> checkpoint.Loaded:
    """Load the network that a path names, one of KINDS, in evaluation mode on the CPU.

    Raises UserError if there is none, and as `train.checkpoints.checkpoint.load` and `eval.export.hub.read_hub` do.
    """
    file = network_file(Path(path))
    if file.name == hub.MODEL and (file.parent / hub.CONFIG).is_file():
        return hub.read_hub(file.parent)
    if not file.exists():
        raise UserError(f"{path} does not exist; give {KINDS}")
    return checkpoint.load(file)
