"""Convert the authors' released checkpoints to this project's form."""

import argparse
from pathlib import Path

from eval.published.importing import DATA, REPORT, import_all, import_folder
from pipeline.errors import UserError, run


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.published", description="Convert the authors' released checkpoints to this project's form."
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("folder", type=Path, nargs="?", help="a released folder, with model.pt and config_model.yaml")
    source.add_argument("--all", type=Path, help="the unpacked archive shared-trained-models, with FG_FER in it")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write; with --all a folder of them")
    parser.add_argument(
        "--data", type=Path, default=DATA, help="prepared faces; {dataset} stands for the name (default: %(default)s)"
    )
    parser.add_argument("--keep-going", action="store_true", help="with --all: succeed if any folder was imported")
    arguments = parser.parse_args()
    if arguments.folder:
        import_folder(arguments.folder, arguments.out, arguments.data)
        return
    report = import_all(arguments.all, arguments.out, arguments.data)
    for row in report[report["status"] == "failed"].itertuples():
        print(f"{row.dataset} {row.method} {row.variant}: {row.problem}")
    counts = report["status"].value_counts()
    summary = ", ".join(f"{count} {status}" for status, count in counts.items())
    if counts.get("imported", 0) < (1 if arguments.keep_going else len(report)):
        raise UserError(f"of {len(report)} checkpoints {summary}; see {arguments.out / REPORT}")
    print(f"of {len(report)} checkpoints {summary}")


if __name__ == "__main__":
    run(main)
