"""CAM by hand, and what a card refuses: misspelt names, values that no training can use."""

import numpy as np
import pytest
import timm
import torch
import yaml
from pydantic import ValidationError

from au_guidance.expressions import Expression
from pipeline.errors import UserError
from pipeline.plugins import names
from train.backbones import registry
from train.backbones.base import Backbone
from train.card import checks, options
from train.card.checks import check_model, needed_weights
from train.card.options import method_options
from train.methods.base import Batch, Output, build_method
from train.methods.cam import Cam


class TwoChannels(Backbone):
    """The images are the features of layer 5."""

    def __init__(self):
        super().__init__()
        self.channels = {5: 2}

    def forward(self, images):
        return {5: images}

    def last_stage_parameters(self):
        return []


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 3, 64, 64, generator=generator)
    heatmaps = torch.rand(4, 64, 64, generator=generator)
    return Batch(images, torch.eye(7)[[1, 0, 3, 5]], heatmaps, torch.tensor([True, False, True, True]))


def test_cam_by_hand():
    method = Cam(TwoChannels(), 3)
    with torch.no_grad():
        method.fc.weight.copy_(torch.tensor([[1.0, 2.0], [-1.0, 0.5], [0.0, 3.0]]))
        method.fc.bias.copy_(torch.tensor([10.0, 20.0, 30.0]))
    images = torch.tensor([[[[1.0, 2.0]], [[3.0, 5.0]]], [[[0.0, 4.0]], [[-2.0, 0.0]]]])
    output = method(images)
    torch.testing.assert_close(output.logits[0], torch.tensor([1.5 + 8 + 10, -1.5 + 2 + 20, 12 + 30.0]))
    cam = method.cam(output, torch.tensor([1, 0]))
    torch.testing.assert_close(cam, torch.tensor([[[-1 + 1.5, -2 + 2.5]], [[0 - 4.0, 4.0]]]))


def test_mean_of_the_cam_is_the_logit_without_bias(make_card, batch):
    torch.manual_seed(0)
    method = build_method(make_card()).eval()
    output = method(batch.images)
    for label in range(7):
        means = method.cam(output, torch.full((4,), label)).mean((1, 2))
        torch.testing.assert_close(means + method.fc.bias[label], output.logits[:, label], rtol=1e-4, atol=1e-5)


def test_classes_may_be_given_in_any_form(make_card, batch):
    torch.manual_seed(0)
    method = build_method(make_card()).eval()
    output = method(batch.images)
    labels = [Expression.FEAR, Expression.ANGER, Expression.NEUTRAL, Expression.SADNESS]
    expected = method.cam(output, torch.tensor([int(label) for label in labels]))
    numbers = [int(label) for label in labels]
    for classes in (labels, numbers, tuple(numbers), np.array(numbers, np.int32), torch.tensor(numbers).int()):
        assert torch.equal(method.cam(output, classes), expected)
    assert torch.equal(method.cam(output, Expression.FEAR)[0], expected[0])
    for wrong in ([1, 2], torch.zeros(4, 7), [0.2, 0.3, 1.0, 2.0]):
        with pytest.raises(ValueError, match="a class is needed for each of 4 images, or one for all"):
            method.cam(output, wrong)


def test_classification_loss_takes_probabilities(make_card):
    method = build_method(make_card())
    logits, target = torch.tensor([[0.0, 1.0, 0, 0, 0, 0, 0]]), torch.tensor([[0.25, 0.75, 0, 0, 0, 0, 0]])
    logs = torch.log_softmax(logits, 1)[0]
    expected = -(0.25 * logs[0] + 0.75 * logs[1])
    assert method.classification_loss(Output(logits, {}), target).item() == pytest.approx(expected.item())


def test_misspelt_things_are_refused_with_one_line(make_card):
    cases = {
        "there is no method 'camm' (did you mean 'cam'?)": {"method": "camm"},
        "the method cam has no option 'peaks'; it takes none": {"model__options": {"peaks": 1}},
        "there is no backbone 'resnet19' (did you mean 'resnet18'?)": {"model__backbone": "resnet19"},
        "there are no ImageNet weights of resnet18_quarter": {"model__init": "imagenet"},
        "model.init: there are no weights 'imagnet' (did you mean 'imagenet'?); available: imagenet, ms1m, none, "
        "or a file ending in .pth .pt .tar .safetensors": {"model__init": "imagnet"},
        "model.init: there are no weights 'weights/'; available": {
            "model__init": "weights/",
            "model__backbone": "timm/resnet10t",
        },
    }
    for text, changes in cases.items():
        with pytest.raises(UserError) as caught:
            check_model(make_card(**changes), key="run.yaml")
        assert text in str(caught.value)
        assert str(caught.value).startswith("run.yaml: ")
        assert "\n" not in str(caught.value)


OPTIONS = {  # option -> (methods, values that it cannot have, what is said)
    "mode": (["wildcat", "prm", "acol", "adl", "apvit", "gradcampp"], ["publishd", True, None], "'original' or 'publ"),
    "maps": (["wildcat"], [0, -1, "8", 8.0, True], ""),
    "kmax": (["wildcat"], ["0.5", -0.1, float("nan"), float("inf")], ""),
    "kmin": (["wildcat"], ["0.5", -1], ""),
    "alpha": (["wildcat"], ["x", None, [0.6]], "valid number"),
    "threshold": (["acol", "adl"], ["high", 0, 1.1, -0.5], ""),
    "width": (["acol"], [0, 1.5], ""),
    "window": (["prm"], [2, "3", 3.0, 99, 0, -1], ""),
    "drop_rate": (["adl"], [4, -0.1, "half"], ""),
    "beta": (["cutmix"], [0, -1.0, "1"], ""),
    "prob": (["cutmix"], [1.5, -0.1], ""),
    "keep": (["apvit"], [0, 0.9], "integer|greater than or equal to 1"),
    "rate": (["apvit"], [0, 1.5], "greater than 0|less than or equal to 1"),
    "dim": (["apvit"], [0], "greater than or equal to 1"),
    "depth": (["apvit"], [0, 8.0], ""),
    "heads": (["apvit"], [0], ""),
    "mlp_ratio": (["apvit"], [0], ""),
    "vit_weights": (
        ["apvit"],
        ["imagnet", "weights/"],
        r"there are no weights '.*'( \(did you mean 'imagenet'\?\))?; available: imagenet, none, or a file ending in",
    ),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_values_that_an_option_cannot_have_are_refused_by_name(option, make_card):
    methods, values, said = OPTIONS[option]
    for method in methods:
        for value in values:
            with pytest.raises(UserError, match=rf"^run\.yaml: model\.options\.{option}: .*({said})") as caught:
                check_model(make_card(method=method, model__options={option: value}), key="run.yaml")
            assert "\n" not in str(caught.value)


def test_every_option_declares_its_values():
    declared = {name for method in names("train.methods") for name in method_options(method)}
    assert declared == OPTIONS.keys()


def test_values_that_an_option_can_have_are_kept_as_they_are(make_card):
    """A count of pixels and a share of them differ by their type."""
    allowed = {"wildcat": {"kmax": 1, "kmin": 1.0, "alpha": -2}, "adl": {"drop_rate": 0, "threshold": None}}
    for method, values in allowed.items():
        card = make_card(method=method, model__options=values)
        check_model(card)
        assert [(value, type(value)) for value in card.model.options.values()] == [
            (value, type(value)) for value in values.values()
        ]


def test_a_misspelt_timm_network_is_refused_with_its_neighbours(make_card, monkeypatch):
    card = make_card(model__backbone="timm/convnxt_tiny")
    with pytest.raises(UserError) as caught:
        check_model(card, key="run.yaml")
    said = "run.yaml: model.backbone: timm has no network 'convnxt_tiny' (did you mean timm/convnext_tiny"
    assert str(caught.value).startswith(said)
    for name in ("convnext_tiny", "resnet10t.c3_in1k", "convnext_tiny_in22ft1k"):  # the last under its old name
        check_model(make_card(model__backbone=f"timm/{name}"))
    monkeypatch.setattr(registry, "timm_networks", frozenset)  # where timm is not installed
    check_model(card)


def test_the_networks_of_timm_are_those_that_it_registers():
    registered = set(timm.list_models())
    assert registered <= registry.timm_networks()
    renamed = {name for name in registry.timm_networks() - registered if timm.is_model(name)}
    assert len(renamed) > 100
    assert len(registry.timm_networks() - registered - renamed) < 20  # keys of other tables


@pytest.mark.parametrize("init", ["imagenet", "none", "a.pth", "b/c.pt", "net.pth.tar", "d.safetensors"])
def test_every_way_to_start_is_accepted(init, make_card):
    check_model(make_card(model__backbone="resnet18", model__init=init))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("training__learning_rate", float("inf"), "finite"),
        ("guidance__weight", float("inf"), "finite"),
        ("guidance__weight", float("nan"), "finite"),
        ("data__validation_seed", -1, "greater than or equal to 0"),
        ("variant", "au-w5-l5", "'plain' or 'au'"),
    ],
)
def test_values_that_no_training_can_use_are_refused(key, value, said, make_card):
    with pytest.raises(ValidationError) as caught:
        make_card(**{key: value})
    message = checks.describe_error(caught.value)
    assert message.startswith(key.replace("__", "."))
    assert said in message


def test_a_card_that_cannot_be_read_is_one_line(make_card, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_bytes("caf\xe9: 1".encode("latin-1"))
    contents = [(path, "UTF-8"), (tmp_path, "directory"), (tmp_path / "none.yaml", "does not exist")]
    for wrong, said in contents:
        with pytest.raises(UserError, match=said) as caught:
            checks.read_card(wrong)
        assert str(caught.value).startswith(str(wrong))
        assert "\n" not in str(caught.value)
    path.write_text(yaml.safe_dump(make_card().model_dump(mode="json")))
    assert checks.read_card(path) == make_card()


def test_a_layer_that_the_backbone_lacks_is_refused(make_card):
    with pytest.raises(UserError, match=r"guidance.layers: timm/convnext_atto has no layer 1; it has 2, 3, 4, 5"):
        build_method(make_card(model__backbone="timm/convnext_atto", guidance__layers=(1, 5)))


def test_options_are_read_from_the_constructor_without_importing_it(tmp_path, monkeypatch):
    folder = tmp_path / "train" / "methods"
    folder.mkdir(parents=True)
    (folder / "parent.py").write_text(
        "import no_such_package\nfrom train.methods.base import Method\n"
        "class Part:\n    def __init__(self, *, inner=1): pass\n"
        "class Parent(Method):\n    def __init__(self, backbone, classes, *, kmax=0.2, alpha: float = 0.7): pass\n"
    )
    (folder / "child.py").write_text("from train.methods.parent import Parent\nclass Child(Parent):\n    x = 1\n")
    (folder / "plain.py").write_text("from train.methods.base import Method\nclass Plain(Method):\n    pass\n")
    monkeypatch.setattr(options, "ROOT", tmp_path)
    assert method_options("parent") == method_options("child") == ["kmax", "alpha"]
    assert method_options("plain") == []


def test_needed_weights(make_card):
    assert needed_weights(make_card()) == []
    assert needed_weights(make_card(model__init="x.pth")) == []
    assert needed_weights(make_card(model__backbone="resnet50", model__init="imagenet")) == ["backbone:resnet50"]
