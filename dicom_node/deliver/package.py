"""What is delivered, and how far the delivery of it has come."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from dicom_node.errors import BrokenPromise, PeerStatus, StorageUnavailable
from dicom_node.verify.manifest import FILE_NAME, ResultManifest, VerifiedObject, path_inside, read_manifest

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ResultPackage:
    """The verified results of one analysis.

    Args:
        directory: The folder that the app wrote.
        app: Name of the app.
        identity: Input digest, app version and model digest: what the result UIDs derive from.
        study_instance_uid: The study that was analysed.
        objects: The DICOM objects.
        pdf: The PDF report, or None.
        previews: Pictures that a person looks at.
    """

    directory: Path
    app: str
    identity: tuple[str, str, str]
    study_instance_uid: str
    objects: tuple[VerifiedObject, ...]
    pdf: Path | None = None
    previews: tuple[Path, ...] = ()

    @property
    def manifest_path(self) -> Path:
        """The ``result.json``."""
        return self.directory / FILE_NAME

    @property
    def companions(self) -> tuple[Path, ...]:
        """The files that are not DICOM objects, ``result.json`` last."""
        report = (self.pdf,) if self.pdf else ()
        return (*report, *self.previews, self.manifest_path)

    @classmethod
    def read(cls, result_dir: Path) -> Self:
        """The package in a folder that has been verified before, for instance before a restart.

        Raises:
            StorageUnavailable: The folder is no longer what it was when it was verified.
        """
        try:
            manifest = read_manifest(result_dir)
            objects = tuple(
                _read_object(entry.role, path_inside(result_dir, entry.file)) for entry in manifest.objects
            )
            return cls(
                directory=result_dir,
                app=manifest.app,
                identity=identity_of(manifest),
                study_instance_uid=objects[0].study_instance_uid,
                objects=objects,
                pdf=path_inside(result_dir, manifest.pdf) if manifest.pdf else None,
                previews=tuple(path_inside(result_dir, name) for name in manifest.previews),
            )
        except (BrokenPromise, OSError, InvalidDicomError, AttributeError, IndexError) as changed:
            raise StorageUnavailable(
                f"the verified results in {result_dir} cannot be read any more: {changed}"
            ) from changed


def identity_of(manifest: ResultManifest) -> tuple[str, str, str]:
    """Input digest, app version and model digest of a result."""
    return (manifest.input_digest, manifest.app_version, manifest.model_digest)


def _read_object(role: str, path: Path) -> VerifiedObject:
    dataset = dcmread(
        path, specific_tags=["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"]
    )
    return VerifiedObject(
        role=role,
        path=path,
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        study_instance_uid=str(dataset.StudyInstanceUID),
        transfer_syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
    )


OnDelivered = Callable[[str, str], None]
"""Called with SOP Instance UID and a note (may be empty) as soon as the peer has an instance."""


@dataclass(frozen=True, kw_only=True)
class DeliveredInstance:
    """One instance that the peer has.

    Args:
        sop_instance_uid: Which.
        note: The peer's warning, or how it is known that the peer has it; may be empty.
        was_there: True when it was not sent this time because the peer already had it.
    """

    sop_instance_uid: str
    note: str = ""
    was_there: bool = False


@dataclass(frozen=True, kw_only=True)
class DeliveryReport:
    """What one successful attempt did.

    Args:
        destination: Name of the destination.
        delivered: What this attempt established to be there; earlier attempts' instances are not in it.
        notes: Sentences for the ledger.
    """

    destination: str
    delivered: tuple[DeliveredInstance, ...]
    notes: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Progress:
    """One attempt: what is left to do, what the peer acknowledged, what it refused.

    Args:
        package: The results.
        has_been_tried: True when an earlier attempt may have got through without our knowing.
        on_delivered: Makes an acknowledgement durable.
        already_delivered: SOP Instance UIDs that earlier attempts made durable.
        delivered: What this attempt established to be there.
        refused: Names of the files that the peer did not take, by its reason.
        notes: Sentences for the ledger.
    """

    package: ResultPackage
    has_been_tried: bool
    on_delivered: OnDelivered
    already_delivered: frozenset[str]
    delivered: list[DeliveredInstance] = field(default_factory=list)
    refused: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def pending(self) -> list[VerifiedObject]:
        """The objects that the peer is not known to have."""
        known = self.already_delivered.union(done.sop_instance_uid for done in self.delivered)
        return [item for item in self.package.objects if item.sop_instance_uid not in known]

    def acknowledge(self, item: VerifiedObject, note: str = "", *, was_there: bool = False) -> None:
        """The peer has this object."""
        self.on_delivered(item.sop_instance_uid, note)
        self.delivered.append(
            DeliveredInstance(sop_instance_uid=item.sop_instance_uid, note=note, was_there=was_there)
        )
        logger.info(
            "the destination has %s%s",
            item.role,
            f" ({note})" if note else "",
            extra={"action": "instance_delivered", "sop_instance_uid": item.sop_instance_uid},
        )

    def skip_those_there(self, has: Callable[[VerifiedObject], bool | None]) -> None:
        """After an attempt of unknown outcome, acknowledges what the peer says it has.

        Args:
            has: True or False when the peer answered, None when it cannot be asked.
        """
        if not self.has_been_tried:
            return
        for item in self.pending():
            if has(item):
                self.acknowledge(item, "already there when asked", was_there=True)

    def refuse(self, item: VerifiedObject, why: str) -> None:
        """The peer does not take this object."""
        self.refused.setdefault(why, []).append(item.path.name)

    @property
    def refusals(self) -> list[str]:
        """Each reason once, with the files that it was given for."""
        return [f"{', '.join(names)}: {why}" for why, names in self.refused.items()]

    def report(self, name: str, where: str) -> DeliveryReport:
        """The report of a complete delivery.

        Raises:
            PeerStatus: Something was refused.
        """
        if self.refused:
            count, of = sum(map(len, self.refused.values())), len(self.package.objects)
            is_one_reason_for_all = len(self.refused) == 1 and 1 < count == of
            why = list(self.refused) if is_one_reason_for_all else self.refusals
            raise PeerStatus(f"{name} ({where}) refused {count} of {of} objects: {'; '.join(why)}")
        return DeliveryReport(destination=name, delivered=tuple(self.delivered), notes=tuple(self.notes))
