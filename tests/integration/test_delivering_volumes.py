"""Deflated label volumes and maps in a real Orthanc: stored as they are, and given to readers inflated."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import highdicom as hd
import httpx
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from dicom_node.deliver import (
    Destination,
    DicomDestination,
    OrthancDestination,
    ResultPackage,
    StowDestination,
    deliver,
)
from operators.encode import codes
from operators.encode.identity import SYNTHETIC, SYNTHETIC_STATEMENT, Producer
from operators.encode.parametric_map import build_parametric_map
from operators.encode.result import MadeObject, Outcome, write_result
from operators.encode.segmentation import Segment, build_segmentation
from tests.integration.orthanc import OrthancServer, start_orthanc
from tests.made_results import ct_grid, ct_headers

ROWS, SLICES, STRUCTURES = 400, 8, 12
GRID = ct_grid(SLICES, ROWS, ROWS)


@pytest.fixture(scope="module")
def values_zyx() -> np.ndarray:
    values = np.random.default_rng(0).gamma(0.5, 1.0, GRID.shape_zyx).astype(np.float32)
    values[values < 1] = 0
    return values


@pytest.fixture(scope="module")
def labels_zyx() -> np.ndarray:
    labels = np.arange(ROWS * ROWS, dtype=np.int64).reshape(ROWS, ROWS) // 37 % (STRUCTURES + 1)
    return np.stack([np.roll(labels, 11 * z, axis=1) for z in range(SLICES)]).astype(np.uint8)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, labels_zyx: np.ndarray, values_zyx: np.ndarray) -> Path:
    """A result folder with a segmentation and a map of some megabytes."""
    folder = tmp_path_factory.mktemp("made")
    sources = ct_headers(SLICES, ROWS)
    producer = Producer(
        app="test_app",
        app_version="0.1.0",
        title="Test",
        intended_use="A test.",
        model_digest="sha256:aa",
        input_digest="sha256:bb",
        training_kind=SYNTHETIC,
        statement=SYNTHETIC_STATEMENT,
        created=datetime(2026, 1, 2, tzinfo=UTC),
    )
    segments = [
        Segment(label=n, name=f"Structure {n}", property_type=codes.HEART) for n in range(1, STRUCTURES + 1)
    ]
    segmentation = build_segmentation(labels_zyx, GRID, sources, segments, producer).dataset
    map_ = build_parametric_map(
        values_zyx,
        GRID,
        sources,
        quantity=codes.private("VARIANCE", "Variance"),
        unit=codes.NO_UNITS,
        label="Variance",
        producer=producer,
    ).dataset
    objects = [
        MadeObject(role=role, file_stem=role, dataset=dataset)
        for role, dataset in (("segmentation", segmentation), ("parametric_map", map_))
    ]
    write_result(folder, producer, objects, Outcome(summary="x"))
    return folder


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[OrthancServer]:
    server = start_orthanc(tmp_path)
    yield server
    server.stop()


def destination(kind: str, server: OrthancServer) -> Destination:
    if kind == "dicom":
        return DicomDestination(
            name="pacs", ae_title=server.ae_title, host="127.0.0.1", port=server.dicom_port, timeout_s=60
        )
    if kind == "stow":
        return StowDestination(name="web", url=server.dicomweb_url, timeout_s=60)
    return OrthancDestination(name="orthanc", url=server.http_url, timeout_s=60)


def get(url: str, accept: str = "*/*") -> bytes:
    answer = httpx.get(url, headers={"Accept": accept}, timeout=60, trust_env=False)
    return answer.raise_for_status().content


@pytest.mark.parametrize("kind", ["dicom", "stow", "orthanc"])
def test_they_are_stored_deflated_and_shown_frame_by_frame(
    kind: str,
    orthanc: OrthancServer,
    made: Path,
    labels_zyx: np.ndarray,
    values_zyx: np.ndarray,
    tmp_path: Path,
) -> None:
    sent = {str(dataset.SOPInstanceUID): dataset for path in made.glob("*.dcm") if (dataset := dcmread(path))}
    assert {d.file_meta.TransferSyntaxUID for d in sent.values()} == {DeflatedExplicitVRLittleEndian}
    deliver(
        destination(kind, orthanc),
        ResultPackage.read(made),
        has_been_tried=False,
        on_delivered=lambda _uid, _note: None,
        already_delivered=set(),
        calling_ae_title="DICOMNODE",
    )
    assert orthanc.sop_instance_uids() == sorted(sent)
    for identifier in orthanc.get("/instances"):
        path = tmp_path / "stored.dcm"
        path.write_bytes(get(f"{orthanc.http_url}/instances/{identifier}/file"))
        stored = dcmread(path)
        assert stored.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
        assert stored == sent[str(stored.SOPInstanceUID)]
        assert len(orthanc.get(f"/instances/{identifier}/frames")) == stored.NumberOfFrames
        assert get(f"{orthanc.http_url}/instances/{identifier}/frames/3/preview").startswith(b"\x89PNG")
        _check_values(path, stored, labels_zyx, values_zyx)
        _check_web(orthanc, stored, tmp_path)


def _check_values(path: Path, stored: Dataset, labels_zyx: np.ndarray, values_zyx: np.ndarray) -> None:
    if stored.Modality == "SEG":
        volume = hd.seg.segread(path).get_volume(combine_segments=True)
    else:
        volume = hd.imread(path).get_volume(apply_real_world_transform=True)
    array = volume.array if volume.affine[2, 0] > 0 else volume.array[::-1]
    expected = labels_zyx if stored.Modality == "SEG" else values_zyx
    assert np.abs(array - expected).max() <= (0 if stored.Modality == "SEG" else values_zyx.max() / 65534)


def _check_web(orthanc: OrthancServer, stored: Dataset, folder: Path) -> None:
    """A viewer that asks DICOMweb for the instance gets it inflated."""
    url = (
        f"{orthanc.dicomweb_url}/studies/{stored.StudyInstanceUID}/series/{stored.SeriesInstanceUID}"
        f"/instances/{stored.SOPInstanceUID}"
    )
    answer = get(
        url, f'multipart/related; type="application/dicom"; transfer-syntax={ExplicitVRLittleEndian}'
    )
    path = folder / "retrieved.dcm"
    path.write_bytes(answer[answer.index(b"\r\n\r\n") + 4 : answer.rindex(b"\r\n--")])
    retrieved = dcmread(path)
    assert retrieved.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert retrieved.PixelData == stored.PixelData
