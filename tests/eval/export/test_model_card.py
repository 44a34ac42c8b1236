"""The model card says what was measured and nothing else."""

import json
import re

import pytest
import torch
import yaml

from au_guidance.expressions import SEVEN
from eval.export.export import describe, export
from eval.export.hub import README
from eval.export.model_card import card_text
from pipeline.errors import UserError
from train.checkpoints import checkpoint
from train.data.transforms import standardise


def card_of(path, tmp_path):
    export(path, hub=tmp_path / "hub")
    return (tmp_path / "hub" / README).read_text()


class TestModelCard:
    def test_says_which_faces_selected_the_epoch(self, trained, tmp_path):
        assert "training nor test faces. Validation: the dataset's own split, 11 faces." in card_of(trained(), tmp_path)

    def test_says_what_a_network_of_drawn_faces_cannot_answer(self, trained, tmp_path):
        text = card_of(trained(data__domain="drawings"), tmp_path)
        assert "about photographs of people its answers mean nothing" in text
        assert "answers mean nothing" not in card_of(trained(), tmp_path)

    def test_holds_the_scores_numbers(self, scored, tmp_path):
        scores, text = json.loads(scored.with_name("scores.json").read_text()), card_of(scored, tmp_path)
        rows = {
            "Accuracy": scores["accuracy"],
            "Balanced accuracy": scores["balanced_accuracy"],
            "Macro F1": scores["macro_f1"],
            "CAM-COS": scores["cam_cosine"],
            "ATT-COS": scores["attention_cosine"]["5"],
        }
        for title, value in rows.items():
            low, high = re.search(rf"^\| {title} \| {value:.3f} \[(\S+), (\S+)\] \|", text, re.MULTILINE).groups()
            assert float(low) <= value + 5e-4
            assert float(high) >= value - 5e-4
        assert f"error {scores['calibration']['ece']:.3f} over" in text
        assert "dividing the logits by 1.5 " in text
        for name, numbers in scores["groups"]["gender"].items():
            assert f"| gender | {name} | {numbers['images']} | {numbers['accuracy']:.3f} [" in text
        assert f"tested on {scores['images']} faces, {scores['images_with_map']} of" in text

    def test_baselines_stand_beside_the_cosines(self, scored, tmp_path):
        path = scored.with_name("scores.json")
        scores = json.loads(path.read_text())
        scores["maps"]["cam"]["baselines"]["class_agnostic"] = 0.7654
        path.write_text(json.dumps(scores))
        assert re.search(r"^\| CAM-COS \| \S+ \[\S+ \S+ \| 0.765 \|", card_of(scored, tmp_path), re.MULTILINE)

    def test_maps_confusion_and_recalls_are_those_of_the_scores(self, scored, tmp_path):
        path = scored.with_name("scores.json")
        scores = json.loads(path.read_text())
        numbers = scores["maps"]["attention"]
        levels = {
            "uniform": 0.4,
            "class_agnostic": 0.7,
            "predicted_class_mean": 0.71,
            "class_mean": 0.9,
            "ceiling": 0.95,
        }
        numbers["baselines"] |= levels
        numbers["skill"] = -0.123
        path.write_text(json.dumps(scores))
        text = card_of(scored, tmp_path)
        cells = [numbers["cosine"]["macro"], -0.123, numbers["retrieval_true"]["macro"], *levels.values()]
        assert f"| attention, layer 5 | {' | '.join(f'{cell:.3f}' for cell in cells)} |" in text
        order = [expression.label for expression in SEVEN]
        places = [scores["labels"].index(label) for label in order]
        assert f"| true \\ answer | {' | '.join(order)} | recall |" in text
        for label, row in zip(scores["labels"], scores["confusion"], strict=True):
            recall = f"{row[scores['labels'].index(label)] / sum(row):.3f}" if sum(row) else "none"
            assert f"| {label} | {' | '.join(str(row[place]) for place in places)} | {recall} |" in text

    def test_spread_is_over_the_seeds_that_are_given(self, scored, tmp_path):
        assert "The scores of one seed are known" in card_of(scored, tmp_path)
        scores = json.loads(scored.with_name("scores.json").read_text())
        other = tmp_path / "other.json"
        other.write_text(json.dumps(scores | {"seed": 7, "accuracy": scores["accuracy"] + 0.1}))
        export(scored, hub=tmp_path / "hub", seeds=[other], command="make model")
        text = (tmp_path / "hub" / README).read_text()
        mean, each = scores["accuracy"] + 0.05, f"{scores['accuracy']:.3f} {scores['accuracy'] + 0.1:.3f}"
        assert f"| Accuracy | {mean:.3f} | {0.1 / 2**0.5:.3f} | {each} |" in text
        assert "over the seeds 0, 7; the network of this folder has seed 0" in text
        assert "`make model` makes this folder again" in text
        for changes, message in (({"seed": 0}, "seed 0 again"), ({"seed": 7, "settings": "x"}, "other settings")):
            other.write_text(json.dumps(scores | changes))
            with pytest.raises(UserError, match=message):
                export(scored, hub=tmp_path / "hub", seeds=[other])

    def test_front_matter_is_yaml_of_the_hub(self, scored, tmp_path):
        matter = yaml.safe_load(card_of(scored, tmp_path).split("---\n")[1])
        assert matter["license"] == "other"
        assert matter["license_name"] == "research-only-weights"
        assert matter["pipeline_tag"] == "image-classification"
        (result,) = matter["model-index"][0]["results"]
        accuracy = json.loads(scored.with_name("scores.json").read_text())["accuracy"]
        assert result["metrics"][0] == {"type": "accuracy", "value": accuracy}

    def test_its_code_runs_in_the_folder_that_holds_the_network(self, trained, tmp_path, monkeypatch):
        path = trained()
        (code,) = re.findall(r"```python\n(.*?)```", card_of(path, tmp_path), re.DOTALL)
        monkeypatch.chdir(tmp_path)
        names = {"faces": torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))}
        exec(code, names)
        loaded = checkpoint.load(path)
        expected = loaded.method(standardise(names["faces"], loaded.card.model.normalisation)).logits
        assert torch.equal(names["labels"], expected.argmax(1))
        assert names["maps"].shape[0] == 2

    def test_without_scores_says_so_and_has_no_numbers(self, trained, tmp_path):
        text = card_of(trained(), tmp_path)
        for heading in ("Results", "Calibration", "Groups"):
            assert f"## {heading}\n\nnot evaluated\n" in text
        assert not re.search(r"\d\.\d\d", text)
        assert "model-index" not in text

    def test_without_images_csv_has_no_intervals(self, scored, tmp_path):
        scored.with_name("images.csv").unlink()
        text = card_of(scored, tmp_path)
        accuracy = json.loads(scored.with_name("scores.json").read_text())["accuracy"]
        assert f"| Accuracy | {accuracy:.3f} |" in text
        assert "95 % intervals" not in text

    def test_scores_of_another_checkpoint_are_refused(self, scored, trained, tmp_path):
        trained("wildcat")  # in the same place
        with pytest.raises(UserError, match="scores of another checkpoint"):
            card_of(scored, tmp_path)

    def test_faces_of_other_scores_are_refused(self, scored, tmp_path):
        faces = scored.with_name("images.csv")
        lines = faces.read_text().splitlines(keepends=True)
        faces.write_text("".join(lines[:-1]))
        with pytest.raises(UserError, match=r"does not fit scores.json"):
            card_of(scored, tmp_path)

    @pytest.mark.parametrize(
        ("content", "why"), [("[", "is no scores.json"), ("{}", "holds no accuracy"), ("[]", "no")]
    )
    def test_broken_scores_are_one_line(self, content, why, scored, tmp_path):
        scored.with_name("scores.json").write_text(content)
        with pytest.raises(UserError, match=why):
            card_of(scored, tmp_path)

    def test_says_what_it_is_not_for(self, trained, tmp_path):
        text = card_of(trained(), tmp_path)
        for words in ("Not for diagnosis", "hiring", "not an emotion", "research only"):
            assert words in " ".join(text.split())

    @pytest.mark.parametrize(
        ("detector", "extractor", "sentences"),
        [
            (
                "blaze",
                "mesh",
                "Faces were found with MediaPipe's BlazeFace and FaceMesh (weights by Google, Apache-2.0). The "
                "landmarks of the AU heatmaps were placed with MediaPipe's FaceMesh (weights by Google, Apache-2.0).",
            ),
            (
                "none",
                "face_alignment",
                "No detector was used. The landmarks of the AU heatmaps were placed with the 2D-FAN weights, trained "
                "on iBUG 300-W, which excludes commercial use.",
            ),
            (
                "evened",
                "dataset",
                "Faces were found with `evened`, whose terms are its own. The landmarks of the AU heatmaps were placed "
                "with the annotations of the dataset.",
            ),
            (
                "dlib",
                None,
                "Faces were found with dlib's 68-point weights, trained on iBUG 300-W, which excludes commercial use. "
                "Which extractor placed the landmarks of the AU heatmaps is not recorded. The weights of dlib and "
                "2D-FAN were trained on iBUG 300-W, which excludes commercial use; MediaPipe's FaceMesh, by Google, is "
                "under Apache-2.0.",
            ),
        ],
    )
    def test_names_the_weights_behind_the_data(self, detector, extractor, sentences, trained):
        loaded = checkpoint.load(trained())
        loaded.meta["preprocessing"]["alignment"]["detector"] = detector
        loaded.meta["extractor"] = extractor
        text = card_text(loaded.card, {**describe(loaded), "training_faces": None}, None, "hub")
        licences = text.partition("## Licences")[2]
        assert licences.split("\n\n")[-1].strip() == sentences

    def test_the_extractor_is_that_of_the_landmark_shards(self, trained, tmp_path):
        assert "heatmaps were placed with `none`, whose terms are its own.\n" in card_of(trained(), tmp_path)

    def test_options_of_the_detector_name_no_folder(self, trained):
        loaded = checkpoint.load(trained())
        loaded.meta["preprocessing"]["alignment"]["detector_options"] = (
            '{"weights": "/home/anna/68.dat", "windows": "2"}'
        )
        alignment = describe(loaded)["preprocessing"]["alignment"]
        assert alignment["detector_options"] == '{"weights": "68.dat", "windows": "2"}'
