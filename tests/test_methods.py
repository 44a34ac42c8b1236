"""Methods: each formula by hand, and what every method of the family must do."""

import pytest
import torch
import yaml
from pydantic import ValidationError
from torch import nn

from pipeline.errors import UserError
from pipeline.plugins import names
from train import config
from train.backbone import Backbone
from train.config import check_model, method_options, needed_weights
from train.losses import au_loss
from train.method import Batch, Output, build
from train.methods.cam import Cam

METHODS = ["cam"]


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


def test_the_family_is_complete():
    assert names("train.methods") == METHODS


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
    method = build(make_card()).eval()
    output = method(batch.images)
    for label in range(7):
        means = method.cam(output, torch.full((4,), label)).mean((1, 2))
        torch.testing.assert_close(means + method.fc.bias[label], output.logits[:, label], rtol=1e-4, atol=1e-5)


def test_classification_loss_takes_probabilities(make_card):
    method = build(make_card())
    logits, target = torch.tensor([[0.0, 1.0, 0, 0, 0, 0, 0]]), torch.tensor([[0.25, 0.75, 0, 0, 0, 0, 0]])
    logs = torch.log_softmax(logits, 1)[0]
    expected = -(0.25 * logs[0] + 0.75 * logs[1])
    assert method.classification_loss(Output(logits, {}), target).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("name", METHODS)
class TestContract:
    def test_head_starts_xavier_uniform_with_zero_bias(self, name, make_card):
        torch.manual_seed(0)
        heads = [part for part in build(make_card(method=name)).children() if isinstance(part, nn.Linear | nn.Conv2d)]
        for head in heads:
            fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(head.weight)
            limit = (6 / (fan_in + fan_out)) ** 0.5
            assert 0.95 * limit < head.weight.abs().max() <= limit
            assert not head.bias.any()

    def test_gradients_reach_every_parameter(self, name, make_card, batch):
        method = build(make_card(method=name))
        output = method(batch.images, batch.target)
        loss = method.classification_loss(output, batch.target) + au_loss(output.features, batch, [5])
        loss.backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in method.parameters())

    def test_augmentation_needs_no_generator_and_keeps_the_shapes(self, name, make_card, batch):
        torch.manual_seed(0)
        changed = build(make_card(method=name)).augment(batch)
        for part in ("images", "target", "heatmaps", "valid"):
            assert getattr(changed, part).shape == getattr(batch, part).shape
        torch.testing.assert_close(changed.target.sum(1), torch.ones(4))

    def test_au_loss_falls_on_one_batch(self, name, make_card, batch):
        torch.manual_seed(0)
        method = build(make_card(method=name))
        optimiser = torch.optim.SGD(method.parameters(), lr=0.05, momentum=0.9)
        values = []
        for _ in range(12):
            optimiser.zero_grad()
            loss = au_loss(method(batch.images, batch.target).features, batch, [5])
            loss.backward()
            optimiser.step()
            values.append(loss.item())
        assert values[-1] < 0.9 * values[0]

    def test_evaluation_does_not_depend_on_neighbours(self, name, make_card, batch):
        method = build(make_card(method=name)).eval()
        with torch.no_grad():
            together, alone = method(batch.images), method(batch.images[2:3])
        torch.testing.assert_close(together.logits[2:3], alone.logits, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            method.cam(together, torch.full((4,), 3))[2:3], method.cam(alone, torch.tensor([3])), rtol=1e-4, atol=1e-5
        )

    def test_bf16_is_finite(self, name, make_card, batch):
        method = build(make_card(method=name))
        with torch.autocast("cpu", torch.bfloat16):
            output = method(batch.images, batch.target)
            loss = method.classification_loss(output, batch.target)
        (loss + au_loss(output.features, batch, [5])).backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in method.parameters())

    def test_head_and_body_share_no_parameter(self, name, make_card):
        method = build(make_card(method=name))
        head = [id(parameter) for parameter in method.head_parameters()]
        assert len(head) == len(set(head))
        assert set(head) < {id(parameter) for parameter in method.parameters()}


def test_misspelt_things_are_refused_with_one_line(make_card):
    cases = {
        "there is no method 'camm' (did you mean 'cam'?)": {"method": "camm"},
        "the method cam has no option 'peaks'; it takes none": {"model__options": {"peaks": 1}},
        "there is no backbone 'resnet19' (did you mean 'resnet18'?)": {"model__backbone": "resnet19"},
        "nobody publishes ImageNet weights of resnet18_half": {"model__init": "imagenet"},
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
    message = config.explain(caught.value)
    assert message.startswith(key.replace("__", "."))
    assert said in message


def test_a_card_that_cannot_be_read_is_one_line(make_card, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_bytes("caf\xe9: 1".encode("latin-1"))
    contents = [(path, "UTF-8"), (tmp_path, "directory"), (tmp_path / "none.yaml", "does not exist")]
    for wrong, said in contents:
        with pytest.raises(UserError, match=said) as caught:
            config.read_card(wrong)
        assert str(caught.value).startswith(str(wrong))
        assert "\n" not in str(caught.value)
    path.write_text(yaml.safe_dump(make_card().model_dump(mode="json")))
    assert config.read_card(path) == make_card()


def test_a_layer_that_the_backbone_lacks_is_refused(make_card):
    with pytest.raises(UserError, match=r"guidance.layers: timm/convnext_atto has no layer 1; it has 2, 3, 4, 5"):
        build(make_card(model__backbone="timm/convnext_atto", guidance__layers=(1, 5)))


def test_options_are_read_from_the_constructor_without_importing_it(tmp_path, monkeypatch):
    folder = tmp_path / "train" / "methods"
    folder.mkdir(parents=True)
    (folder / "parent.py").write_text(
        "import no_such_package\nfrom train.method import Method\n"
        "class Part:\n    def __init__(self, *, inner=1): pass\n"
        "class Parent(Method):\n    def __init__(self, backbone, classes, *, kmax=0.2, alpha: float = 0.7): pass\n"
    )
    (folder / "child.py").write_text("from train.methods.parent import Parent\nclass Child(Parent):\n    x = 1\n")
    (folder / "plain.py").write_text("from train.method import Method\nclass Plain(Method):\n    pass\n")
    monkeypatch.setattr(config, "ROOT", tmp_path)
    assert method_options("parent") == method_options("child") == ["kmax", "alpha"]
    assert method_options("plain") == []


def test_needed_weights(make_card):
    assert needed_weights(make_card()) == []
    assert needed_weights(make_card(model__init="x.pth")) == []
    assert needed_weights(make_card(model__backbone="resnet50", model__init="imagenet")) == ["backbone:resnet50"]
