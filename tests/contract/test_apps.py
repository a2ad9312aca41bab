"""Every app, found by itself, keeps what all apps promise."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import (
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from dicom_node.catalog import App, find_apps
from dicom_node.infer.process import app_environment

REPOSITORY = Path(__file__).resolve().parents[2]
APPS = find_apps()
DICOM_NODE = Path(sys.executable).parent / "dicom-node"
MAX_MODEL_BYTES = 12_000_000
A_DATE = re.compile(r"\b20\d\d-[01]\d-[0-3]\d\b")
TODAY = re.compile(r"\b(today|now|strftime|gmtime|localtime|time\.time)\(")
ROLES = {
    "segmentation": {SegmentationStorage, "1.2.840.10008.5.1.4.1.1.66.7"},
    "parametric_map": {ParametricMapStorage},
    "presentation_state": {GrayscaleSoftcopyPresentationStateStorage},
    "report": {Comprehensive3DSRStorage},
    "key_image": {SecondaryCaptureImageStorage},
    "report_pdf": {EncapsulatedPDFStorage},
}

every_app = pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)


def test_there_are_apps() -> None:
    assert APPS


@every_app
def test_the_model_is_the_one_that_app_toml_names(app: App) -> None:
    assert app.problem == ""


@every_app
def test_the_app_folder_has_everything_that_a_reader_looks_for(app: App) -> None:
    for name in ("app.py", "phantom.py", "train.py", "evaluate.py", "README.md", "test_app.py"):
        assert (app.app_dir / name).is_file(), f"{app.name} lacks {name}"


@every_app
def test_the_model_card_says_on_what_the_model_was_trained_and_how_to_repeat_it(app: App) -> None:
    card = (app.app_dir / "README.md").read_text(encoding="utf-8")
    for needed in ("ntended use", "dicom-node train", "dicom-node evaluate", "dicom-node phantom"):
        assert needed in card, f"{app.name}: {needed}"
    assert not re.search(r"@[A-Z0-9]*@", card), f"{app.name}: a number is still to be filled in"
    if app.manifest.training.kind == "synthetic":
        assert "synthetic" in card


@every_app
def test_the_model_is_small_and_holds_nothing_that_would_be_unpickled(app: App) -> None:
    files = [path for path in app.bundle_dir.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_MODEL_BYTES
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".onnx", ".md", ".npz", ".csv"}


@every_app
def test_the_digest_of_the_model_does_not_depend_on_the_day_of_its_training(app: App) -> None:
    """The same cases and seed give the same bundle: no file of it holds a date, no training asks for one."""
    for path in app.bundle_dir.rglob("*.json"):
        assert not A_DATE.search(path.read_text(encoding="utf-8")), f"{path} holds a date"
    for path in app.app_dir.glob("train*.py"):
        assert not TODAY.search(path.read_text(encoding="utf-8")), f"{path} asks for the date"


@every_app
def test_the_app_imports_no_other_app_and_not_the_service(app: App) -> None:
    for path in app.app_dir.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        imported = set(re.findall(r"^\s*(?:from|import) (?:apps\.(\w+)|(dicom_node))", source, re.M))
        for other, service in imported:
            is_test = path.name.startswith("test_")
            assert other in {"", app.name}, f"{path} imports apps.{other}"
            assert not service or is_test, f"{path} imports the service"


@every_app
def test_a_role_means_the_same_kind_of_object_in_every_app(app: App) -> None:
    """A site that treats presentation states or reports in a way of its own asks for them by role."""
    for promise in app.manifest.outputs:
        kinds = ROLES.get(promise.role.removesuffix("_late"))
        assert kinds is None or {promise.sop_class, *promise.sop_class_by_setting} <= kinds, promise.role


@every_app
def test_there_is_a_sample_study(app: App) -> None:
    sample = REPOSITORY / "sample_dicom" / app.name
    files = list(sample.rglob("*.dcm"))
    assert files
    assert sum(path.stat().st_size for path in files) < 10_000_000
    for path in files:
        assert str(dcmread(path, specific_tags=["PatientName"]).PatientName).startswith("PHANTOM^")


def test_an_app_is_added_by_copying_the_template_into_one_folder(tmp_path: Path) -> None:
    """What CONTRIBUTING.md says: copy, rename, done; nothing else is touched."""
    root = tmp_path / "apps"
    shutil.copytree(REPOSITORY / "apps" / "_template", root / "my_task")
    manifest = root / "my_task" / "app.toml"
    renamed = re.sub(
        r'^name = "[^"]+"', 'name = "my_task"', manifest.read_text(encoding="utf-8"), count=1, flags=re.M
    )
    manifest.write_text(renamed, encoding="utf-8")

    def dicom_node(*arguments: object) -> str:
        done = subprocess.run(
            [DICOM_NODE, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env=app_environment([root]),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = json.loads(dicom_node("apps", "--apps", root, "--json"))
    assert "my_task" in {app["name"] for app in listed}
    cases = tmp_path / "cases"
    dicom_node("phantom", "my_task", "--seed", 1, "--count", 2, "--output", cases, "--apps", root)
    case = sorted(cases.iterdir())[0]
    results = tmp_path / "results"
    dicom_node("run", "my_task", case / "dicom", "--output", results, "--apps", root)
    objects = json.loads((results / "result.json").read_text(encoding="utf-8"))["objects"]
    assert all((results / entry["file"]).is_file() for entry in objects)
    dicom_node("train", "my_task", "--data", cases, "--output", tmp_path / "bundle", "--apps", root)
    measured = json.loads(dicom_node("evaluate", "my_task", "--data", cases, "--apps", root, "--json"))
    assert measured["app"] == "my_task"
    assert measured["n"] == 2
