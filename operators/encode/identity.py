"""Who made a result, from what, and whether it may be used on patients.

UIDs derive from (input digest, app, version, model digest, role), so an analysis
that is repeated makes the same objects and not new ones.
"""

from __future__ import annotations

import tomllib
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import highdicom as hd
from pydicom.uid import UID

from operators.encode import codes
from operators.job import AnalysisJob
from operators.select.digests import bundle_digest

MANUFACTURER = codes.MANUFACTURER
NAMESPACE = uuid.UUID("5f1ac2c4-9f07-4d6f-8d2e-1a06b7a0c5de")
"""Namespace of the name-based UUIDs that UIDs are made of (RFC 9562, version 5)."""
SYNTHETIC = "synthetic"
SYNTHETIC_STATEMENT = "research use, trained on synthetic data"
LONG_STRING_LIMIT = 64
"""Longest value of VR LO (PS3.5 6.2)."""
FIRST_SERIES_NUMBER = 1000


def name_uid(*parts: str) -> UID:
    """The UID ``2.25.<UUID>`` that these parts always have (PS3.5 B.2).

    >>> name_uid("a", "b") == name_uid("a", "b")
    True
    >>> name_uid("a", "b") == name_uid("ab")
    False
    """
    return UID(f"2.25.{uuid.uuid5(NAMESPACE, chr(31).join(parts)).int}")


@dataclass(frozen=True, kw_only=True)
class Producer:
    """The app, its model and its input: everything a result says about its making.

    Args:
        app: Name of the app (its folder).
        app_version: Version from app.toml.
        title: What the app is called for a reader.
        intended_use: One sentence.
        model_digest: ``sha256:...`` over the bundle's files.
        input_digest: ``sha256:...`` over the chosen instances.
        training_kind: ``synthetic``, or the name of the site whose data trained the model.
        statement: What every reader must see; empty when there is nothing to warn of.
        node_name: Name of the node, for the device observer.
        created: When the results were made; aware.
    """

    app: str
    app_version: str
    title: str
    intended_use: str
    model_digest: str
    input_digest: str
    training_kind: str
    statement: str = ""
    node_name: str = "DICOMNODE"
    created: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def model_name(self) -> str:
        """Manufacturer's Model Name (0008,1090) of results."""
        return f"DICOM node {self.app}"[:LONG_STRING_LIMIT]

    @property
    def device_uid(self) -> UID:
        """The UID of this version of this app with this model, as an observer of SR."""
        return name_uid("device", self.app, self.app_version, self.model_digest)

    @property
    def device_serial_number(self) -> str:
        """Software has no serial number; this names the exact model instead."""
        return self.model_digest.removeprefix("sha256:")[:16]

    @property
    def software_versions(self) -> tuple[str, ...]:
        """Software Versions (0018,1020): the app, and the start of the model's digest."""
        return (f"{self.app} {self.app_version}", f"model {self.device_serial_number}")

    def uid(self, role: str) -> UID:
        """The UID of the object or series with this role in this analysis."""
        return name_uid(self.input_digest, self.app, self.app_version, self.model_digest, role)

    def tracking_uid(self, study_instance_uid: str, target: str) -> UID:
        """The UID of a target (say, the heart) in every analysis of one study by this app."""
        return name_uid("tracking", study_instance_uid, self.app, target)

    def series_number(self, ordinal: int) -> int:
        """Series Number (0020,0011) of the app's series with this ordinal, 1 to 9.

        Apps have different tens, so two apps on one study rarely share a number.
        """
        return FIRST_SERIES_NUMBER + zlib.crc32(self.app.encode()) % 800 * 10 + ordinal

    def series_description(self, label: str) -> str:
        """The label, followed by the statement when there is one.

        Raises:
            ValueError: Both together are longer than a Series Description may be.
        """
        text = f"{label}: {self.statement}" if self.statement else label
        if len(text) > LONG_STRING_LIMIT:
            raise ValueError(f"series description {text!r} is longer than {LONG_STRING_LIMIT} characters")
        return text

    @property
    def algorithm_parameters(self) -> dict[str, str]:
        """What distinguishes this run of the algorithm, for TID 4019 and PS3.3 10.16."""
        return {
            "model digest": self.model_digest,
            "training data": self.training_kind.upper() if self.is_synthetic else self.training_kind,
            "input digest": self.input_digest,
        }

    @property
    def is_synthetic(self) -> bool:
        """True when the model was trained on phantoms."""
        return self.training_kind == SYNTHETIC

    def algorithm_identification(self) -> hd.AlgorithmIdentificationSequence:
        """Algorithm Identification Macro (PS3.3 10.16)."""
        return hd.AlgorithmIdentificationSequence(
            name=self.app,
            family=codes.ARTIFICIAL_INTELLIGENCE,
            version=self.app_version,
            source=MANUFACTURER,
            parameters=self.algorithm_parameters,
        )

    def contributing_equipment(self) -> hd.ContributingEquipment:
        """Item of the Contributing Equipment Sequence (PS3.3 C.12.1)."""
        return hd.ContributingEquipment(
            manufacturer=MANUFACTURER,
            purpose_of_reference=codes.PROCESSING_EQUIPMENT,
            manufacturer_model_name=self.model_name,
            software_versions=list(self.software_versions),
            device_serial_number=self.device_serial_number,
            station_name=self.node_name[:16],
            contribution_datetime=self.created.strftime("%Y%m%d%H%M%S%z"),
            contribution_description=f"{self.title}. {self.statement}".strip()[:1024],
        )


def read_manifest(app_dir: Path) -> dict[str, Any]:
    """The content of an app's ``app.toml``."""
    return tomllib.loads((app_dir / "app.toml").read_text(encoding="utf-8"))


def producer_of(job: AnalysisJob, metadata: Mapping[str, Any]) -> Producer:
    """The producer of one analysis.

    Names come from app.toml. What the model was trained on is said by the bundle that is
    really used, which may be a site's; a bundle that says nothing counts as the app's own.

    Args:
        job: The analysis.
        metadata: The bundle's ``metadata.json``; ``training.kind`` is `SYNTHETIC` or a site's name.
    """
    manifest = read_manifest(job.app_dir)
    app, training = manifest["app"], manifest["training"]
    kind = str(dict(metadata.get("training", {})).get("kind") or training["kind"])
    otherwise = SYNTHETIC_STATEMENT if kind == SYNTHETIC else ""
    return Producer(
        app=job.app,
        app_version=app["version"],
        title=app["title"],
        intended_use=app["intended_use"],
        model_digest=bundle_digest(job.bundle_dir),
        input_digest=job.input_digest,
        training_kind=kind,
        statement=training["statement"] if kind == training["kind"] else otherwise,
        node_name=job.node_name,
    )
