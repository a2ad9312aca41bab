"""Presentation states in a real Orthanc: they arrive whole, beside the images that they mark."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from dicom_node.deliver import (
    Destination,
    DicomDestination,
    OrthancDestination,
    ResultPackage,
    StowDestination,
    deliver,
)
from operators.encode.marks import Box, Point
from operators.encode.messages import Markings
from operators.encode.presentation_state import build_presentation_states
from operators.encode.result import MadeObject, Outcome, write_result
from tests.dicom_checks import dciodvfy_errors
from tests.integration.orthanc import OrthancServer, find_program, start_orthanc
from tests.made_results import COLUMNS, ROWS, ct_slice
from tests.unit.test_verify_presentation import PRODUCER


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OrthancServer]:
    server = start_orthanc(tmp_path_factory.mktemp("pacs"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def images() -> list[Dataset]:
    """Two slices, with a window, of a patient with a Japanese name."""
    slices = [ct_slice(number) for number in range(2)]
    for one in slices:
        one.WindowCenter, one.WindowWidth, one.RescaleType = "1", "4", "HU"
    return slices


def kinds(server: OrthancServer) -> dict[str, Destination]:
    return {
        "dicom": DicomDestination(
            name="pacs", ae_title=server.ae_title, host="127.0.0.1", port=server.dicom_port, timeout_s=60
        ),
        "stow": StowDestination(name="web", url=server.dicomweb_url, timeout_s=60),
        "orthanc": OrthancDestination(name="orthanc", url=server.http_url, timeout_s=60),
    }


def fetched(server: OrthancServer, sop_instance_uid: str, path: Path) -> Path:
    """The file of an instance as the PACS gives it back."""
    query = {"Level": "Instance", "Query": {"SOPInstanceUID": sop_instance_uid}}
    found = httpx.post(f"{server.http_url}/tools/find", json=query, trust_env=False).raise_for_status().json()
    (identifier,) = found
    file = httpx.get(f"{server.http_url}/instances/{identifier}/file", trust_env=False)
    path.write_bytes(file.raise_for_status().content)
    return path


@pytest.mark.parametrize("kind", ["dicom", "stow", "orthanc"])
def test_a_state_arrives_whole_beside_its_images(
    kind: str, pacs: OrthancServer, images: list[Dataset], tmp_path: Path
) -> None:
    box = Box(corners_yx=((2, 3), (ROWS - 1, COLUMNS - 1)), label="Right hip", target="Right hip")
    markings = [
        Markings(source=one, boxes=(box,), points=(Point(position_yx=(4, 4)),), verdict=("右大腿骨頚部骨折",))
        for one in images
    ]
    producer = replace(PRODUCER, input_digest=f"sha256:{kind}")  # other UIDs: the PACS holds all three
    (state,) = build_presentation_states(markings, producer)
    made = tmp_path / "made"
    made.mkdir()
    objects = [MadeObject(role=state.role, file_stem="presentation_state_1", dataset=state.dataset)]
    write_result(made, producer, objects, Outcome(summary="x"))
    for number, one in enumerate(images):
        one.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
        body = (tmp_path / f"{number}.dcm").read_bytes()
        httpx.post(f"{pacs.http_url}/instances", content=body, trust_env=False).raise_for_status()

    report = deliver(
        kinds(pacs)[kind],
        ResultPackage.read(made),
        has_been_tried=False,
        on_delivered=lambda _uid, _note: None,
        already_delivered=set(),
        calling_ae_title="DICOMNODE",
    )

    assert len(report.delivered) == 1
    uid = str(state.dataset.SOPInstanceUID)
    stored = fetched(pacs, uid, tmp_path / "stored.dcm")
    assert dcmread(stored) == dcmread(made / "presentation_state_1.dcm")
    assert dcmread(stored).SOPClassUID == GrayscaleSoftcopyPresentationStateStorage
    assert dciodvfy_errors(stored) == []
    (study,) = pacs.get("/studies?expand")
    assert study["MainDicomTags"]["StudyInstanceUID"] == images[0].StudyInstanceUID
    series = f"{pacs.dicomweb_url}/studies/{images[0].StudyInstanceUID}/series"
    listed = httpx.get(series, params={"Modality": "PR"}, trust_env=False).raise_for_status().json()
    assert str(state.dataset.SeriesInstanceUID) in {one["0020000E"]["Value"][0] for one in listed}
    for number, one in enumerate(images):
        image = fetched(pacs, str(one.SOPInstanceUID), tmp_path / f"image_{number}.dcm")
        command = [find_program("dcmp2pgm"), "--pstate", stored, image, tmp_path / "shown.pgm"]
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        assert shown.returncode == 0, shown.stderr
        assert "error" not in shown.stderr.casefold(), shown.stderr
