"""Serve the page: `python -m eval.explain.app --checkpoint FILE`, then open the address that it prints."""

import argparse
from pathlib import Path

from pipeline.errors import run

EXAMPLE = "example:\n  python -m eval.explain.app --checkpoint results/.../checkpoint.safetensors --port 0"


def main() -> None:
    """Read the command line and serve until the process is stopped."""
    arguments = _parse()
    # Imported here, so that a wrong option is refused before torch is imported.
    from eval.explain.app.server import serve  # noqa: PLC0415
    from eval.explain.explainer import Explainer  # noqa: PLC0415
    from train.hardware import claim  # noqa: PLC0415

    with claim() as device:
        explainer = Explainer(arguments.checkpoint, device)
        serve(explainer, arguments.host, arguments.port, megabytes=arguments.max_megabytes)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m eval.explain.app",
        description="Explain faces of your images or webcam in a browser. Reads a checkpoint, writes nothing.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--checkpoint", type=Path, required=True, metavar="FILE", help="checkpoint.safetensors of a run"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; any other than the default exposes the page to the network (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=7860, help="port, 0 for a free one (default: %(default)s)")
    parser.add_argument(
        "--max-megabytes",
        type=int,
        default=20,
        metavar="N",
        help="refuse larger uploads (default: %(default)s)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
