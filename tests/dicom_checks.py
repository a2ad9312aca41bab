"""What tests ask of DICOM objects: the validator's errors, references that resolve, a Japanese patient."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from tests.integration.orthanc import find_program

JAPANESE_NAME = "Yamada^Tarou=山田^太郎=やまだ^たろう"


def dciodvfy_errors(path: Path) -> list[str]:
    """The lines in which dicom3tools' validator reports an error in a file.

    Debian's does not inflate what is written deflated: it is given an inflated copy of such a file.
    """
    dataset = dcmread(path, stop_before_pixels=True)
    with TemporaryDirectory() as folder:
        if dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
            dataset = dcmread(path)
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            path = Path(folder) / path.name
            dataset.save_as(path, enforce_file_format=True)
        command = [find_program("dciodvfy"), str(path)]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (said.stdout + said.stderr).splitlines()
    assert lines, f"dciodvfy said nothing of {path.name}"
    return [line for line in lines if line.startswith("Error")]


def name_in_japanese(path: Path) -> None:
    """Give the patient of a file a Japanese name in the usual Japanese encoding."""
    dataset = dcmread(path)
    dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    dataset.PatientName = JAPANESE_NAME
    dataset.save_as(path)


def references_of(datasets: Iterable[Dataset]) -> list[tuple[str, str]]:
    """SOP instance and class of every reference in some objects, at any depth."""
    found: list[tuple[str, str]] = []

    def collect(item: Dataset, element: Any) -> None:
        if element.keyword == "ReferencedSOPInstanceUID":
            found.append((str(element.value), str(item.ReferencedSOPClassUID)))

    for dataset in datasets:
        dataset.walk(collect)
    return found


def instances_of(datasets: Iterable[Dataset]) -> set[tuple[str, str]]:
    """SOP instance and class of some objects."""
    return {(str(dataset.SOPInstanceUID), str(dataset.SOPClassUID)) for dataset in datasets}
