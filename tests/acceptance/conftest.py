"""What acceptance tests share: the sample study, a node on it, an Orthanc."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.node_process import NodeProcess
from tests.integration.orthanc import OrthancServer, start_orthanc

REPOSITORY = Path(__file__).resolve().parents[2]


WITHIN_S = 900
"""For a test; a machine that does much else takes minutes where a free one takes seconds."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of whole nodes may take longer than others."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(WITHIN_S))


@pytest.fixture(scope="session")
def mibg_study() -> Path:
    """The MIBG sample study: early, late and planar."""
    study = REPOSITORY / "sample_dicom" / "mibg_spect"
    assert any(study.rglob("*.dcm")), "sample_dicom/mibg_spect is empty: make samples"
    return study


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[OrthancServer]:
    """A real Orthanc with DICOMweb."""
    server = start_orthanc(tmp_path / "orthanc")
    yield server
    server.stop()


@pytest.fixture
def make_node(tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    """Makes nodes (not started) that are stopped at the end of the test."""
    nodes: list[NodeProcess] = []

    def make(name: str = "node", **settings: Any) -> NodeProcess:
        node = NodeProcess(tmp_path / name, **settings)
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        node.stop()


FOLDER = '[[destination]]\nname = "results"\nkind = "folder"\npath = "results"'
ROUTE = '[[route]]\napp = "mibg_spect"\ndestinations = {}'
