"""The catalogue: found by itself, without torch, and exact about what is wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dicom_node import catalog
from dicom_node.catalog import all_roots, find_app, find_apps
from dicom_node.errors import Misconfigured
from operators.select.digests import bundle_digest

FORBIDDEN = {"torch", "monai", "highdicom", "SimpleITK", "scipy", "holoscan", "apps"}

TOML = """
[app]
name = "{name}"
version = "1.2.3"
title = "Title"
intended_use = "tests"
[training]
kind = "synthetic"
statement = "research use, trained on synthetic data"
{model}
[[input]]
name = "ct"
title = "CT"
[[input.match]]
attribute = "Modality"
equals = "CT"
[[output]]
role = "report"
sop_class = "1.2.840.10008.5.1.4.1.1.88.34"
"""


@pytest.fixture(autouse=True)
def only_own_roots(monkeypatch, tmp_path):
    monkeypatch.setattr(catalog, "SHIPPED_ROOT", tmp_path / "shipped")
    monkeypatch.delenv("DICOM_NODE_APPS", raising=False)


def install(root, name, *, digest=None, said=None, model="weights"):
    app_dir = root / name
    (app_dir / "model").mkdir(parents=True)
    (app_dir / "model" / "weights.safetensors").write_text(model)
    digest = digest or bundle_digest(app_dir / "model")
    table = f'[model]\nbundle = "model"\ndigest = "{digest}"'
    (app_dir / "app.toml").write_text(TOML.format(name=said or name, model=table))
    return app_dir


def test_apps_are_found_in_every_root_in_the_order_of_names(tmp_path, monkeypatch):
    install(tmp_path / "shipped", "b_app")
    install(tmp_path / "site", "a_app")
    install(tmp_path / "more", "c_app")
    monkeypatch.setenv("DICOM_NODE_APPS", str(tmp_path / "more"))
    assert [app.name for app in find_apps([tmp_path / "site"])] == ["a_app", "b_app", "c_app"]
    assert all_roots([tmp_path / "site", tmp_path / "more"])[1:] == [tmp_path / "more", tmp_path / "site"]


def test_templates_and_other_folders_are_not_apps(tmp_path):
    install(tmp_path / "shipped", "_template", said="template")
    install(tmp_path / "shipped", "good")
    (tmp_path / "shipped" / "__pycache__").mkdir()
    (tmp_path / "shipped" / "notes").mkdir()
    assert [app.name for app in find_apps()] == ["good"]


def test_an_app_says_all_that_a_script_would_ask(tmp_path):
    app_dir = install(tmp_path / "shipped", "good")
    (app,) = find_apps()
    assert app.problem == ""
    assert app.bundle_dir == app_dir / "model"
    summary = app.summary()
    assert summary["model_digest"] == bundle_digest(app_dir / "model")
    assert (summary["name"], summary["version"], summary["training_kind"]) == ("good", "1.2.3", "synthetic")
    assert summary["inputs"] == [{"name": "ct", "title": "CT"}]


def test_a_model_that_is_not_the_one_named_is_a_problem(tmp_path):
    install(tmp_path / "shipped", "good", digest="sha256:" + "0" * 64)
    (app,) = find_apps()
    assert "model.digest is sha256:000" in app.problem
    assert app.model_digest in app.problem


def test_a_missing_model_is_a_problem(tmp_path):
    app_dir = install(tmp_path / "shipped", "good")
    (app_dir / "model").rename(app_dir / "elsewhere")
    (app,) = find_apps()
    assert "the model cannot be read" in app.problem


def test_a_site_may_bring_its_own_model(tmp_path):
    install(tmp_path / "shipped", "good")
    own = tmp_path / "own"
    own.mkdir()
    (own / "weights.safetensors").write_text("other")
    app = find_app("good", bundle=own)
    assert app.bundle_dir == own
    assert app.model_digest == bundle_digest(own)
    assert app.problem == ""


@pytest.mark.parametrize(
    ("arrange", "words"),
    [
        (lambda root: install(root, "good", said="other"), ["app.name = 'other'", "'good'"]),
        (lambda root: install(root, "good", digest="abc"), ["model.digest", "'abc'"]),
    ],
)
def test_a_wrong_manifest_is_a_wrong_configuration(tmp_path, arrange, words):
    arrange(tmp_path / "shipped")
    with pytest.raises(Misconfigured) as error:
        find_apps()
    assert str(tmp_path / "shipped" / "good" / "app.toml") in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_two_apps_of_one_name_are_a_wrong_configuration(tmp_path):
    install(tmp_path / "shipped", "good")
    install(tmp_path / "site", "good")
    with pytest.raises(Misconfigured, match="are both the app 'good'"):
        find_apps([tmp_path / "site"])


def test_a_root_that_is_missing_and_an_unknown_app_are_named(tmp_path):
    install(tmp_path / "shipped", "good")
    with pytest.raises(Misconfigured, match="is not a folder of apps"):
        find_apps([tmp_path / "nowhere"])
    with pytest.raises(Misconfigured, match="'bad': no such app; allowed are good"):
        find_app("bad")


def test_neither_catalogue_nor_rules_import_torch():
    finished = subprocess.run(
        [
            sys.executable, "-X", "importtime", "-c",
            "import dicom_node.catalog, dicom_node.route; dicom_node.catalog.find_apps()",
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in finished.stderr.splitlines()}
    assert "pydicom" in imported
    assert not imported & FORBIDDEN
