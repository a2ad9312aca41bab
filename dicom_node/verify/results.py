"""The stage itself: everything an app promised is there, and everything there is in order."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset

from dicom_node.errors import BrokenPromise
from dicom_node.verify.attributes import check_copied, check_uids
from dicom_node.verify.content import check_companions, check_content, check_statement, read_whole
from dicom_node.verify.geometry import check_geometry
from dicom_node.verify.manifest import FILE_NAME, ResultManifest, VerifiedObject, path_inside, read_manifest
from dicom_node.verify.maps import check_map
from dicom_node.verify.presentation import check_presentation
from dicom_node.verify.promises import OutputPromise
from dicom_node.verify.references import check_references
from dicom_node.verify.sources import KnownInstances, Sources, known_instance, read_sources

log = logging.getLogger(__name__)

SYNTHETIC = "synthetic"
SYNTHETIC_STATEMENT = "research use, trained on synthetic data"


@dataclass(frozen=True, kw_only=True)
class ResultIdentity:
    """What the node knows about the analysis it asked for.

    Args:
        app: Name of the app.
        app_version: Its version, of app.toml.
        model_digest: Digest of the model bundle that was to be used.
        input_digest: Digest of the instances that the app was given.
        training_kind: ``synthetic`` or a site's name, of app.toml.
        training_statement: What results say about it.
    """

    app: str
    app_version: str
    model_digest: str
    input_digest: str
    training_kind: str = ""
    training_statement: str = SYNTHETIC_STATEMENT


def verify_results(
    result_dir: Path,
    outputs: Sequence[OutputPromise],
    inputs: Sequence[Path],
    *,
    study_instances: KnownInstances,
    identity: ResultIdentity,
    predecessors: KnownInstances = (),
) -> list[VerifiedObject]:
    """The objects of a result, when all of it is what was promised.

    Args:
        result_dir: The folder that the app wrote.
        outputs: The promises of its app.toml.
        inputs: The instances that it was given.
        study_instances: SOP Instance UIDs received for this study, which results may refer to.
        identity: The analysis that was asked for.
        predecessors: SOP Instance UIDs of earlier results that these may name.

    Raises:
        BrokenPromise: Something is missing, unreadable, of another patient or study,
            refers to what does not exist, lies on another grid or is empty. The
            sentence names the file and the attribute, never a value of the patient's.
    """
    manifest = read_manifest(result_dir)
    _check_identity(manifest, identity)
    files = _named_files(result_dir, manifest)
    datasets = [read_whole(path) for _, path in files]
    objects = [_verified(role, path, data) for (role, path), data in zip(files, datasets, strict=True)]
    _check_promises(objects, outputs)
    sources = read_sources(inputs)
    check_uids(objects, [str(dataset.Modality) for dataset in datasets], sources)
    known = dict(sources.instances)
    for item, dataset in zip(objects, datasets, strict=True):
        with _readable_as_its_class(item.path.name):
            known[item.sop_instance_uid] = known_instance(dataset)
    for item, dataset in zip(objects, datasets, strict=True):
        name = item.path.name
        with _readable_as_its_class(name):
            check_copied(name, dataset, sources)
            check_content(name, dataset)
            check_map(name, dataset)
            check_presentation(name, dataset, sources)
            check_references(name, dataset, known, (study_instances, predecessors))
            _check_grid(name, dataset, sources)
            if SYNTHETIC in (identity.training_kind, manifest.training_kind):
                check_statement(name, dataset, identity.training_statement)
    log.info(
        "result is what was promised",
        extra={"action": "result_verified", "app": identity.app, "sizes": _sizes(objects)},
    )
    return objects


def _sizes(objects: Sequence[VerifiedObject]) -> str:
    """Names and sizes of the files, for an administrator who has to store and send them."""
    return ", ".join(f"{item.path.name} {item.path.stat().st_size / 1e6:.2f} MB" for item in objects)


@contextmanager
def _readable_as_its_class(name: str) -> Iterator[None]:
    """An attribute that is missing or of another type where its class requires it breaks the promise."""
    try:
        yield
    except AttributeError as missing:
        raise BrokenPromise(
            f"{name} is not a valid object of its class: it lacks {missing.name}"
        ) from missing
    except (KeyError, IndexError, TypeError, ValueError) as wrong:
        raise BrokenPromise(
            f"{name} is not a valid object of its class: {type(wrong).__name__} while reading it"
        ) from wrong


def _check_identity(manifest: ResultManifest, identity: ResultIdentity) -> None:
    for key in ("app", "app_version", "model_digest", "input_digest"):
        said, asked = getattr(manifest, key), getattr(identity, key)
        if said != asked:
            raise BrokenPromise(f"{FILE_NAME}: {key} is {said!r}, asked for was {asked!r}")
    if identity.training_kind and manifest.training_kind != identity.training_kind:
        raise BrokenPromise(
            f"{FILE_NAME}: training_kind is {manifest.training_kind!r}, "
            f"app.toml says {identity.training_kind!r}"
        )


def _named_files(result_dir: Path, manifest: ResultManifest) -> list[tuple[str, Path]]:
    files = [(entry.role, path_inside(result_dir, entry.file)) for entry in manifest.objects]
    named = {path.name for _, path in files}
    if len(named) != len(files):
        raise BrokenPromise(f"{FILE_NAME} names a file twice")
    for path in sorted(result_dir.glob("*.dcm")):
        if path.name not in named:
            raise BrokenPromise(f"the app wrote {path.name}, which {FILE_NAME} does not name")
    check_companions(
        path_inside(result_dir, manifest.pdf) if manifest.pdf else None,
        tuple(path_inside(result_dir, name) for name in manifest.previews),
    )
    return files


def _verified(role: str, path: Path, dataset: FileDataset) -> VerifiedObject:
    return VerifiedObject(
        role=role,
        path=path,
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
        study_instance_uid=str(dataset.StudyInstanceUID),
        transfer_syntax_uid=str(dataset.file_meta.TransferSyntaxUID),
    )


def _check_promises(objects: Sequence[VerifiedObject], outputs: Sequence[OutputPromise]) -> None:
    promises = {promise.role: promise for promise in outputs}
    for item in objects:
        promise = promises.get(item.role)
        if promise is None:
            raise BrokenPromise(
                f"{item.path.name} has the role {item.role!r}, which app.toml does not promise"
            )
        if item.sop_class_uid not in (promise.sop_class, *promise.sop_class_by_setting):
            raise BrokenPromise(
                f"{item.path.name}: its SOP class is {item.sop_class_uid}, "
                f"promised is {promise.sop_class} ({promise.sop_class_name})"
            )
    made = Counter(item.role for item in objects)
    for promise in outputs:
        if not promise.allows(made[promise.role]):
            raise BrokenPromise(
                f"{made[promise.role]} objects of the role {promise.role!r}, promised are {promise.count}"
            )


def _check_grid(name: str, dataset: Dataset, sources: Sources) -> None:
    """Whatever has functional groups per frame lies on the grid of its source."""
    if "PerFrameFunctionalGroupsSequence" in dataset:
        check_geometry(name, dataset, sources)
