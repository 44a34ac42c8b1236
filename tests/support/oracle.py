"""What the published code answers for weights and images of a formula, and the comparison of a method with it."""

import json
import runpy

import numpy as np
import torch


def published(shared, name, rename):
    """What the published code answers for images and weights of a formula, and those weights under our names."""
    formula = runpy.run_path(str(shared / "oracle" / "formula.py"))
    keys = json.loads((shared / "oracle" / "keys" / f"{name}.json").read_text())
    tensors = {rename(key): torch.tensor(value) for key, value in formula["checkpoint"](keys, 0).items()}
    answers = np.load(shared / "oracle" / f"{name}.npz")
    size = 112 if name == "APVIT" else 224
    return torch.from_numpy(formula["images"](size, 0)), tensors, {key: answers[key] for key in answers.files}


def check_against_published(method, images, tensors, answers):
    method.load_state_dict(tensors)
    with torch.no_grad():
        output = method.eval()(images)
        alone = method(images[1:])
        for label in range(7):
            cam = method.cam(output, torch.tensor([label, label]))
            np.testing.assert_allclose(cam, answers["cam_all"][:, label], atol=1e-4 * np.ptp(answers["cam_all"]))
        cam = method.cam(output, torch.from_numpy(answers["targets"]))
        single = method.cam(alone, torch.from_numpy(answers["targets"][1:]))
    np.testing.assert_allclose(output.logits, answers["logits"], atol=1e-4)
    # Of its range: APViT's reaches 170, where processors that add in another order differ by 2e-3.
    np.testing.assert_allclose(output.features[1].mean(1), answers["att"], atol=1e-4 * max(1, np.ptp(answers["att"])))
    np.testing.assert_allclose(cam, answers["cam_raw"], atol=1e-4 * np.ptp(answers["cam_raw"]))
    torch.testing.assert_close(output.logits[1:], alone.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(cam[1:], single, rtol=1e-4, atol=1e-5)
    return output
