"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the public data that tests read; it lies beside the repository."""
    folder = Path(os.environ.get("DICOM_NODE_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    assert folder.is_dir(), f"{folder} is missing; DICOM_NODE_SHARED_DATA names another place"
    return folder
