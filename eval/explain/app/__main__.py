"""Serve the page: `python -m eval.explain.app`, then open the address that it prints."""

import argparse
import math
from pathlib import Path

from eval.explain.app.listener import parse_port
from pipeline.errors import UserError, run

EXAMPLE = "example:\n  python -m eval.explain.app --port 0"


def main() -> None:
    """Read the command line and serve until the process is stopped."""
    arguments = _parse()
    port = parse_port(arguments.port)
    for option in ("max_megabytes", "max_megapixels", "max_faces"):
        if not 0 < getattr(arguments, option) < math.inf:
            raise UserError(f"--{option.replace('_', '-')} is {getattr(arguments, option)}; it must be above 0")
    # Imported here, so that a wrong option is refused before torch is imported.
    from eval.explain.app.server import Limits, serve  # noqa: PLC0415
    from eval.explain.explainer import Explainer  # noqa: PLC0415
    from eval.explain.networks import OURS  # noqa: PLC0415
    from train.hardware import claim  # noqa: PLC0415

    limits = Limits(arguments.max_megabytes, arguments.max_megapixels, arguments.max_faces)
    with claim() as device:
        serve(Explainer(arguments.checkpoint or OURS, device), arguments.host, port, limits)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m eval.explain.app",
        description="Explain faces of your pictures or webcam in a browser. Reads a checkpoint, writes nothing.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="PATH",
        help="a checkpoint, the folder of a run, or one of eval.export --hub (default: models/photographs)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; any that is not of this machine alone exposes the page to the network "
        "(default: %(default)s)",
    )
    parser.add_argument("--port", default="7860", help="port, 0 for a free one (default: %(default)s)")
    _add_limits(parser)
    return parser.parse_args()


def _add_limits(parser: argparse.ArgumentParser) -> None:
    limits: list[tuple[str, type, int, str]] = [
        ("--max-megabytes", int, 20, "refuse larger uploads (default: %(default)s)"),
        ("--max-megapixels", float, 50, "refuse larger pictures, before they are decoded (default: %(default)s)"),
        ("--max-faces", int, 24, "explain at most this many faces of a picture, the largest (default: %(default)s)"),
    ]
    for option, kind, default, text in limits:
        parser.add_argument(option, type=kind, default=default, metavar="N", help=text)


if __name__ == "__main__":
    run(main)
