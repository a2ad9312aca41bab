"""An app alone, as a MONAI Application Package runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    script = (
        "import sys; from pathlib import Path; from apps._template.phantom import generate; "
        "generate(1, Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", script, str(folder)], cwd=REPOSITORY, check=True)
    return folder / "dicom"


def _package(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "apps._template.app", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_arguments_name_the_folders(phantom, tmp_path):
    done = _package("-i", phantom, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert result["summary"].startswith("Body inside the slices")


def test_the_environment_of_a_package_names_the_folders(phantom, tmp_path):
    done = _package(HOLOSCAN_INPUT_PATH=str(phantom), HOLOSCAN_OUTPUT_PATH=str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.pdf").is_file()


def test_a_refusal_exits_3_with_a_sentence(tmp_path):
    (tmp_path / "in").mkdir()
    done = _package("-i", tmp_path / "in", "-o", tmp_path / "out")
    assert done.returncode == 3
    assert done.stderr.startswith("refused: ")
    assert not (tmp_path / "out").exists()


def test_wrong_use_exits_2():
    assert _package("-i", "nowhere").returncode == 2
