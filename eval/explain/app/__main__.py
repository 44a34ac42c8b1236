"""Serve the page: `python -m eval.explain.app --checkpoint FILE`, then open the address that it prints."""

import argparse
import logging
from pathlib import Path

from pipeline.errors import UserError, run


def main() -> None:
    """Read the command line and serve until the process is stopped."""
    parser = argparse.ArgumentParser(prog="python -m eval.explain.app", description="Explain faces in a browser.")
    parser.add_argument("--checkpoint", type=Path, required=True, help="checkpoint.safetensors of a run")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; others than this can be seen by others"
    )
    parser.add_argument("--port", type=int, default=7860, help="0 takes a free one")
    parser.add_argument("--max-megabytes", type=int, default=20, help="larger uploads are refused")
    arguments = parser.parse_args()

    from werkzeug.serving import make_server  # noqa: PLC0415  (a wrong option is refused before torch is imported)

    from eval.explain.app import server  # noqa: PLC0415
    from eval.explain.explainer import Explainer  # noqa: PLC0415
    from train.hardware import claim  # noqa: PLC0415

    with claim() as device:
        explainer = Explainer(arguments.checkpoint, device)
        local = arguments.host in server.LOCAL
        app = server.make(explainer, only_local=local, megabytes=arguments.max_megabytes)
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        try:
            served = make_server(arguments.host, arguments.port, app, threaded=True)
        except (OSError, SystemExit):
            raise UserError(f"--port: {arguments.host}:{arguments.port} is in use; choose another, or 0") from None
        if not local:
            print(f"careful: whoever reaches {arguments.host} can use this page; it has no password", flush=True)
        print(f"http://{arguments.host}:{served.server_port}  (Ctrl-C ends it)", flush=True)
        try:
            served.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    run(main)
