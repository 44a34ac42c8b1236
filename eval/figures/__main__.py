"""Scores and predictions to figures: PNG and PDF for a column of 85 mm, and the numbers drawn as CSV.

    python -m eval.figures KIND --scores FILE... [--grid grid.json --experiment NAME] [--so-far] --out F
    python -m eval.figures panels PLAIN_predictions.h5 AU_predictions.h5 [--seed 0] --out F

| KIND | shows |
|---|---|
| lambda, layers | CL, CAM-COS and ATT-COS by lambda (Fig. 5) and by guided layers (Table 3) |
| baselines | cosines of all variants beside their baselines |
| matrices | confusion, and cosines per class and layer, of a run, above the run without AU (Figs. 10, 11) |
| reliability | how often answers of a given confidence are right |
| faithfulness | deletion, insertion, ROAD and random weights, from the faithfulness files beside the scores |
| panels | single faces with AU map, CAM and attention (Fig. 4) |
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from eval.figures.baselines import draw_baselines
from eval.figures.curves import draw_lambda, draw_layers
from eval.figures.faces import read_pair
from eval.figures.faithfulness import draw_faithfulness
from eval.figures.matrices import draw_matrices
from eval.figures.panels import draw_panels
from eval.figures.reliability import draw_reliability
from eval.figures.style import SUFFIXES
from eval.records.runs import Run, add_selection, refuse_overwriting_runs, selected
from pipeline.errors import UserError, run
from pipeline.storage.files import beside, refuse_overwriting

KINDS: dict[str, Callable[[Sequence[Run], Path], None]] = {
    "lambda": draw_lambda,
    "layers": draw_layers,
    "baselines": draw_baselines,
    "matrices": draw_matrices,
    "reliability": draw_reliability,
    "faithfulness": draw_faithfulness,
}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.figures", description="Draw a figure of scores (panels: of predictions)."
    )
    parser.add_argument("figure", choices=[*KINDS, "panels"], help="which figure")
    parser.add_argument("predictions", type=Path, nargs="*", help="panels: predictions.h5 without AU, then with AU")
    add_selection(parser)
    parser.add_argument("--seed", type=int, default=0, help="panels: seed that draws the faces (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="path without suffix: .png, .pdf and .csv are written")
    arguments = parser.parse_args()
    outputs = [beside(arguments.out, suffix) for suffix in SUFFIXES]
    if arguments.figure == "panels":
        if len(arguments.predictions) != 2:
            raise UserError("panels need two files: the predictions without AU, then those with AU")
        refuse_overwriting(arguments.predictions, outputs)
        draw_panels(read_pair(*arguments.predictions), arguments.out, seed=arguments.seed)
    else:
        runs = selected(arguments)
        refuse_overwriting_runs(arguments, runs, outputs)
        KINDS[arguments.figure](runs, arguments.out)


if __name__ == "__main__":
    run(main)
