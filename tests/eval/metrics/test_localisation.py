import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sklearn

from eval.metrics import localisation as measures
from eval.metrics.localisation import localisation, region

# A 3 x 3 face: the action units are in the first row, its last pixel only half.
HEATMAP = torch.tensor([[[1.0, 0.8, 0.5], [0.4, 0.0, 0.0], [0.0, 0.0, 0.0]]])
INSIDE = region(HEATMAP)


def one(values: list[list[float]]) -> torch.Tensor:
    return torch.tensor([values])


def test_region_is_where_the_heatmap_is_at_least_half() -> None:
    assert INSIDE.tolist() == [[[True, True, True], [False] * 3, [False] * 3]]


@pytest.mark.parametrize("fill", [0.0, 0.4, 0.5, 1.0])
def test_region_that_is_empty_or_everything_is_refused(fill: float) -> None:
    both = torch.cat([HEATMAP, torch.full((1, 3, 3), fill)])
    with pytest.raises(ValueError, match="no region to find"):
        localisation(torch.rand(2, 3, 3), both)


def test_by_hand() -> None:
    # Largest three of nine: 9, 8, 4; two of them are in the first row, which holds 9 + 8 + 1 of a sum of 24.
    found = localisation(one([[9, 8, 1], [4, 2, 0], [0, 0, 0]]), HEATMAP)
    assert found["relevance_mass"] == pytest.approx([18 / 24])
    assert found["relevance_rank"] == pytest.approx([2 / 3])
    assert found["f1"] == pytest.approx([2 / 3])
    assert found["iou"] == pytest.approx([2 / 4])
    assert found["pointing_game"] == [1]
    # 18 pairs of a pixel inside and one outside: 9 and 8 beat all six, 1 beats the four zeros.
    assert found["auc_judd"] == pytest.approx([(6 + 6 + 4) / 18])
    # Mean 24/9, mean square 166/9; inside the mean is 6.
    assert found["nss"] == pytest.approx([(6 - 24 / 9) / np.sqrt(166 / 9 - (24 / 9) ** 2)])
    # Sums: M 24, A 2.7, MA 9 + 6.4 + 0.5 + 1.6, MM 166, AA 1 + 0.64 + 0.25 + 0.16.
    covariance, own, other = 17.5 - 24 * 2.7 / 9, 166 - 24**2 / 9, 2.05 - 2.7**2 / 9
    assert found["pearson"] == pytest.approx([covariance / np.sqrt(own * other)])


def test_ties_for_the_last_place_share_it() -> None:
    # Place 1 goes to 5; places 2 and 3 to two of the four 2s, one of which is inside: it is let in half the time.
    found = localisation(one([[5, 2, 0], [2, 2, 2], [0, 0, 0]]), HEATMAP)
    assert found["relevance_rank"] == pytest.approx([(1 + 0.5) / 3])
    assert found["iou"] == pytest.approx([1.5 / 4.5])
    # 5 beats 6; the 2 inside beats three zeros and ties with three 2s; the 0 inside ties with three zeros.
    assert found["auc_judd"] == pytest.approx([(6 + 3 + 1.5 + 1.5) / 18])


def test_several_largest_values_point_in_part() -> None:
    found = localisation(one([[5, 0, 0], [5, 5, 0], [0, 0, 5]]), HEATMAP)
    assert found["pointing_game"] == pytest.approx([1 / 4])


@pytest.mark.parametrize("fill", [0.0, 1.0, 1e-8])
def test_a_constant_map_scores_what_chance_does(fill: float) -> None:
    found = localisation(torch.full((1, 3, 3), fill), HEATMAP)
    assert found.pop("relevance_mass") == pytest.approx([3 / 9 if fill else 0])
    expected = {"pearson": 0, "relevance_rank": 3 / 9, "pointing_game": 3 / 9, "iou": (1 / 3) / (5 / 3)}
    expected |= {"f1": 3 / 9, "auc_judd": 0.5, "nss": 0}
    assert {name: value[0] for name, value in found.items()} == pytest.approx(expected)


def test_rounding_in_a_resized_constant_map_is_no_order() -> None:
    almost = 0.7 + 1e-7 * torch.rand(1, 3, 3, generator=torch.Generator().manual_seed(0))
    assert almost.max() > almost.min()
    found, constant = localisation(almost, HEATMAP), localisation(torch.full((1, 3, 3), 0.7), HEATMAP)
    assert {name: value[0] for name, value in found.items()} == pytest.approx(
        {name: value[0] for name, value in constant.items()}
    )


def test_perfect_and_opposite_maps() -> None:
    found = localisation(torch.cat([HEATMAP, 1 - HEATMAP]), HEATMAP.expand(2, 3, 3))
    for name in ("relevance_rank", "pointing_game", "iou", "f1", "auc_judd"):
        assert found[name] == pytest.approx([1, 0]), name
    assert found["pearson"] == pytest.approx([1, -1])
    assert found["relevance_mass"] == pytest.approx([2.3 / 2.7, 0.7 / 6.3])


def random_pairs(count: int, size: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    maps = (torch.rand(count, size, size, generator=generator) * 8).round() / 8  # coarse, so that many values tie
    heatmaps = torch.rand(count, size, size, generator=generator) ** 2
    return maps, heatmaps


def test_scipy_and_sklearn_agree() -> None:
    maps, heatmaps = random_pairs(20)
    found = localisation(maps, heatmaps)
    for row, (values, heatmap) in enumerate(zip(maps.flatten(1).numpy(), heatmaps.flatten(1).numpy(), strict=True)):
        inside = heatmap >= 0.5
        assert found["pearson"][row] == pytest.approx(stats.pearsonr(values, heatmap).statistic, abs=1e-6)
        assert found["auc_judd"][row] == pytest.approx(sklearn.roc_auc_score(inside, values), abs=1e-12)
        assert found["nss"][row] == pytest.approx(stats.zscore(values.astype(float))[inside].mean(), abs=1e-6)
        distinct = values + 1e-4 * np.random.default_rng(row).random(values.size)  # sklearn has no ties by chance
        chosen = distinct >= np.sort(distinct)[-inside.sum()]
        again = localisation(torch.tensor(distinct.reshape(1, 12, 12)), heatmaps[row : row + 1])
        assert again["f1"] == pytest.approx([sklearn.f1_score(inside, chosen)])
        assert again["iou"] == pytest.approx([sklearn.jaccard_score(inside, chosen)])
        assert again["relevance_rank"] == pytest.approx([sklearn.recall_score(inside, chosen)])


def test_ties_score_what_breaking_them_by_chance_does_on_average() -> None:
    maps, heatmaps = random_pairs(1)
    found = localisation(maps, heatmaps)
    noise = 1e-4 * torch.rand(4000, 12, 12, generator=torch.Generator().manual_seed(2))
    broken = localisation(maps + noise, heatmaps.expand(4000, 12, 12))
    for name in ("relevance_rank", "auc_judd", "pointing_game"):
        assert broken[name].mean() == pytest.approx(found[name][0], abs=0.03), name


def test_quantus_agrees() -> None:
    quantus = pytest.importorskip("quantus", reason="the optional group xai is not installed")
    maps, heatmaps = random_pairs(8)
    maps = maps + torch.linspace(0, 0.01, maps[0].numel()).reshape(maps[0].shape)  # no ties: it has no rule for them
    inside = region(heatmaps)
    found = localisation(maps, heatmaps)
    given = {
        "model": None,
        "x_batch": np.zeros((8, 1, 12, 12)),
        "y_batch": np.zeros(8, int),
        "a_batch": maps[:, None].double().numpy(),
        "s_batch": inside[:, None].numpy(),
    }
    options = {"abs": False, "normalise": False, "disable_warnings": True}
    for name, metric in {
        "relevance_mass": quantus.RelevanceMassAccuracy,
        "relevance_rank": quantus.RelevanceRankAccuracy,
        "pointing_game": quantus.PointingGame,
        "auc_judd": quantus.AUC,
    }.items():
        assert found[name] == pytest.approx(np.array(metric(**options)(**given), float), abs=1e-6), name


def test_size_of_a_batch_does_not_matter() -> None:
    maps, heatmaps = random_pairs(6)
    together = localisation(maps, heatmaps)
    for row in range(6):
        alone = localisation(maps[row : row + 1], heatmaps[row : row + 1])
        expected = {name: value[row] for name, value in together.items()}
        assert {name: value[0] for name, value in alone.items()} == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 3), min_size=9, max_size=9), st.floats(0.01, 100), st.integers(0, 5))
def test_scale_and_shift_change_no_order(values: list[int], scale: float, shift: int) -> None:
    maps = torch.tensor(values, dtype=torch.float64).reshape(1, 3, 3)
    found, moved = localisation(maps, HEATMAP), localisation(scale * (maps + shift), HEATMAP)
    for name in ("pearson", "relevance_rank", "pointing_game", "iou", "f1", "auc_judd", "nss"):
        assert moved[name] == pytest.approx(found[name], abs=1e-5), name
    bounds = {"pearson": (-1, 1), "nss": (-9, 9)}
    for name, value in found.items():
        low, high = bounds.get(name, (0, 1))
        assert low - 1e-9 <= value[0] <= high + 1e-9


def test_every_measure_names_formula_range_direction_and_source() -> None:
    for name in localisation(HEATMAP, HEATMAP):
        text = getattr(measures, name).__doc__
        assert "higher is better" in text
        assert "Source" in text
