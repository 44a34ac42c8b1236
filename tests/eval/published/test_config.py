"""A released config becomes a card, and what has no formula here is refused by name."""

from pathlib import Path

import numpy as np
import pytest
import torch

from eval.published.config import ReleasedConfig, card_of
from pipeline.errors import UserError
from tests.support.released import write_config
from train.data.transforms import standardise


class TestCard:
    def of(self, folder, method="CAM", **changes):
        return card_of(
            ReleasedConfig(write_config(folder, method, **changes) / "config_model.yaml"), Path("d/{dataset}")
        )

    def test_it_holds_what_the_config_says(self, tmp_path):
        made = self.of(tmp_path, align_atten_to_heatmap_layers="'5-4-3'", dataset="AffectNet")
        assert (made.dataset, made.method, made.variant, made.seed) == ("affectnet", "cam", "au", 3)
        assert made.data.folder == Path("d/affectnet")
        assert made.guidance.model_dump() == {
            "weight": 9.0, "layers": (5, 4, 3), "reduction": "mean", "resize": "published",
        }  # fmt: skip
        assert made.protocol == "paper"
        training = made.training
        assert (training.epochs, training.batch_size, training.evaluation_batch_size) == (100, 32, 64)
        assert (training.learning_rate, training.head_lr_ratio, training.weight_decay) == (0.002, 10.0, 0.0005)
        assert (training.step_size, training.gamma, training.momentum, training.nesterov) == (40, 0.1, 0.9, True)
        assert (training.augmentation, training.amp, training.clip_norm) == ("published", "fp16", 0.0)

    @pytest.mark.parametrize(("method", "layer"), [("CAM", 5), ("CutMIX", 4), ("TSCAM", 1), ("APVIT", 1)])
    def test_without_alignment_the_layer_is_that_of_the_published_evaluation(self, method, layer, tmp_path):
        made = self.of(tmp_path, method, align_atten_to_heatmap="false")
        assert (made.variant, made.guidance.weight, made.guidance.layers) == ("plain", 0.0, (layer,))

    @pytest.mark.parametrize(
        ("method", "options"),
        [
            ("WILDCAT", {"mode": "published", "maps": 5, "kmax": 0.5, "kmin": 0.1, "alpha": 0.6}),
            ("PRM", {"mode": "published", "window": 3}),
            ("ACoL", {"mode": "published", "threshold": 0.1}),
            ("ADL", {"mode": "published", "drop_rate": 0.4, "threshold": 0.1}),
            ("CutMIX", {"beta": 1.0, "prob": 1.0}),
            ("GradCAMpp", {"mode": "published"}),
            ("APVIT", {"mode": "published", "keep": 160, "rate": 0.9}),
            ("LayerCAM", {}),
        ],
    )
    def test_options_are_read_from_the_config(self, method, options, tmp_path):
        assert self.of(tmp_path, method, align_atten_to_heatmap="false").model.options == options

    def test_network_and_size_follow_the_method(self, tmp_path):
        for method, backbone, size in (("CAM", "resnet50", 224), ("TSCAM", "deit_small", 224), ("APVIT", "ir50", 112)):
            model = self.of(tmp_path, method, align_atten_to_heatmap="false").model
            assert (model.backbone, model.image_size, model.init) == (backbone, size, "none")

    @pytest.mark.parametrize(
        ("weights", "expected"),
        [
            ("imagenet", [(0.2 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (1.0 - 0.406) / 0.225]),
            ("null", [0.2, 0.4, 1.0]),
            ("VGGFace2", [51 - 131.0912, 102 - 103.8827, 255 - 91.4953]),
        ],
    )
    def test_the_first_weights_decide_how_pixels_are_scaled(self, weights, expected, tmp_path):
        kind = self.of(tmp_path, encoder_weights=weights).model.normalisation
        pixel = torch.tensor([51.0, 102.0, 255.0])[None, :, None, None] / 255
        np.testing.assert_allclose(standardise(pixel, kind).flatten(), expected, atol=1e-4)

    @pytest.mark.parametrize(
        ("method", "changes", "said"),
        [
            ("CAMM", {}, "method is 'CAMM'"),
            ("CAM", {"dataset": "FER"}, "dataset is 'FER'"),
            ("CAM", {"dense_dims": "512-128"}, "dense_dims is '512-128'; only ''"),
            ("CAM", {"support_background": "true"}, "model.support_background is True"),
            ("CAM", {"scale_in": "2.0"}, "model.scale_in is 2.0"),
            (
                "GradCam",
                {"spatial_pooling": "ACOL"},
                "spatial_pooling is 'ACOL'; only 'WGAP' can be imported for GradCam",
            ),
            ("APVIT", {"encoder_name": "resnet50"}, "model.encoder_name is 'resnet50'; only 'apvit' can be imported"),
            ("CAM", {"num_classes": "8"}, "num_classes is 8"),
            ("CAM", {"encoder_weights": "MS1M"}, "model.encoder_weights is 'MS1M'"),
            ("CAM", {"align_atten_to_heatmap_layers": "'5-x'"}, "guidance.layers"),
            ("CAM", {"align_atten_to_heatmap_layers": "'7'"}, "guidance.layers"),
            ("PRM", {"prm_st": "2"}, "prm_st is 2; only 1"),
            ("APVIT", {"apvit_attn_method": "LA"}, "model.apvit_attn_method is 'LA'; only 'SUM_ABS_1'"),
            ("APVIT", {"apvit_apply_self_att": "true"}, "model.apvit_apply_self_att is True"),
        ],
    )
    def test_what_has_no_formula_here_is_refused_by_name(self, method, changes, said, tmp_path):
        with pytest.raises(UserError) as caught:
            self.of(tmp_path, method, **changes)
        assert said in str(caught.value)
        assert "config_model.yaml" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_missing_key_is_named(self, tmp_path):
        path = write_config(tmp_path, "CAM") / "config_model.yaml"
        path.write_text(path.read_text().replace("  opt__lr: 0.002\n", ""))
        with pytest.raises(UserError, match=r"config_model.yaml has no key optimizer.opt__lr$"):
            card_of(ReleasedConfig(path), Path("d"))
