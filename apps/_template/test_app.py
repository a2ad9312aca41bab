"""What must hold for this app, and for a copy of it under another name."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread

from operators.errors import Refused
from operators.package import job_of_folder
from tests.dicom_checks import dciodvfy_errors

APP_DIR = Path(__file__).resolve().parent


def _module(name: str):
    return importlib.import_module(f"apps.{APP_DIR.name}.{name}")


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("case")
    _module("phantom").generate(3, folder)
    return folder


def _run(case: Path, output: Path) -> dict:
    job = job_of_folder(APP_DIR, case / "dicom", output, device="cpu")
    _module("app").build_app(job).run()
    return json.loads((output / "result.json").read_text(encoding="utf-8"))


def test_volume_and_mask_agree_with_the_truth(case, tmp_path):
    truth = json.loads((case / "truth.json").read_text(encoding="utf-8"))
    result = _run(case, tmp_path)
    assert result["measurements"]["body_volume"]["value"] == pytest.approx(truth["body_volume_ml"], rel=0.03)
    read = _module("cases").read_cases(case)[0]
    mask = hd.seg.segread(tmp_path / "segmentation.dcm").get_volume(combine_segments=True).array > 0
    assert mask.sum() == pytest.approx(read.body_zyx.sum(), rel=0.03)


def test_every_object_is_valid_and_says_what_the_model_is(case, tmp_path):
    result = _run(case, tmp_path)
    assert {entry["role"] for entry in result["objects"]} == {
        "segmentation",
        "report",
        "key_image",
        "report_pdf",
    }
    for entry in result["objects"]:
        path = tmp_path / entry["file"]
        assert dciodvfy_errors(path) == [], path
        assert "research use, trained on synthetic data" in dcmread(path).SeriesDescription


def test_a_series_with_a_gap_is_refused(case, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for path in (case / "dicom").glob("*.dcm"):
        if path.name != "slice_0012.dcm":
            (source / path.name).write_bytes(path.read_bytes())
    with pytest.raises(Refused, match="slices are missing"):
        job_of_folder(APP_DIR, source, tmp_path / "out")


def test_a_volume_without_a_body_is_refused(case):
    volume = _module("cases").read_cases(case)[0].volume
    air = np.full_like(volume.hu_zyx, -1000.0)
    with pytest.raises(Refused, match="no tissue"):
        _module("body").find_body(air, volume.geometry, APP_DIR / "model")


def test_training_again_gives_the_shipped_kind_of_model(case, tmp_path):
    _module("train").train(case, tmp_path / "bundle", seed=1, device="cpu")
    evaluation = _module("evaluate").evaluate(case, bundle=tmp_path / "bundle", device="cpu")
    assert evaluation.app == APP_DIR.name
    assert evaluation.metrics["dice_body"].value > 0.97
