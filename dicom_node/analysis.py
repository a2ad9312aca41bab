"""One attempt of an analysis: request, app process, verification, committed results.

Folders of a job, below ``<data_dir>/jobs/<job id>/``: ``attempt/`` while the app works,
``results/`` once its objects are verified and synced. ``results/`` appears whole, by one
rename, so its existence means that the analysis is done.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from pydicom import dcmread

from dicom_node.catalog import App
from dicom_node.config import NodeConfig
from dicom_node.errors import Misconfigured
from dicom_node.infer.newest import OnProgress
from dicom_node.infer.pool import AppPool
from dicom_node.infer.request import write_request
from dicom_node.store.ledger import Ledger
from dicom_node.store.tables import JobRow
from dicom_node.verify import OutputPromise, ResultIdentity, verify_results
from dicom_node.verify.manifest import read_manifest

REPORT_ROLE = "report"
"""Role of the structured report, which a later analysis names as its predecessor."""


class Analysis:
    """Runs jobs' apps and keeps what they made.

    Args:
        config: The node's configuration.
        ledger: Where instances and earlier jobs are found.
        pool: Warm processes.
        apps: The catalogue, by name.
    """

    def __init__(self, config: NodeConfig, ledger: Ledger, pool: AppPool, apps: Mapping[str, App]) -> None:
        self._config = config
        self._ledger = ledger
        self._pool = pool
        self._apps = apps

    def job_dir(self, job_id: str) -> Path:
        """Folder of a job."""
        return self._config.node.data_dir / "jobs" / job_id

    def results_dir(self, job_id: str) -> Path:
        """Folder of a job's verified results; it exists only when they are complete."""
        return self.job_dir(job_id) / "results"

    def run(self, job: JobRow, *, on_progress: OnProgress, on_verifying: Callable[[], None]) -> None:
        """Run the job's app, verify what it made and commit it.

        Args:
            job: To be run.
            on_progress: Told how far the app is, if the app tells.
            on_verifying: Told when the app is done.

        Raises:
            Refused: The app refuses the input.
            Failed: The app or its results are not good; worth another attempt.
            Misconfigured: The app or its route is not there any more.
        """
        app = self._app(job)
        attempt = self.job_dir(job.job_id) / "attempt"
        if attempt.exists():
            shutil.rmtree(attempt)
        data_dir = self._config.node.data_dir
        inputs = {name: [data_dir / path for path in paths] for name, paths in job.inputs.items()}
        predecessor = self._predecessor(job)
        request = write_request(
            attempt,
            app=job.app,
            app_dir=app.app_dir,
            bundle_dir=app.bundle_dir,
            inputs=inputs,
            input_digest=job.input_digest,
            warnings=job.warnings,
            settings=self._settings(job.app),
            predecessors=predecessor,
            device=self._config.work.device,
            node_name=self._config.node.ae_title,
        )
        with self._pool.lend(app) as process:
            process.run(request, app.manifest.limits.time_limit_s, on_progress)
        on_verifying()
        known = {row.sop_instance_uid for row in self._ledger.instances_of(job.study_instance_uid)}
        verify_output(app, attempt / "output", inputs, job.input_digest, predecessor, known)
        sync(attempt / "output")
        (attempt / "output").rename(self.results_dir(job.job_id))
        sync_folder(self.job_dir(job.job_id))
        shutil.rmtree(attempt)

    def warm_up(self, app_name: str) -> None:
        """Have the app's process imported before its first study comes."""
        with self._pool.lend(self._apps[app_name]) as process:
            process.start()

    def _app(self, job: JobRow) -> App:
        app = self._apps.get(job.app)
        if app is None:
            raise Misconfigured(f"the app {job.app} is not installed any more")
        if app.manifest.app.version != job.app_version or app.model_digest != job.model_digest:
            raise Misconfigured(
                f"the job was made for {job.app} {job.app_version} with another model; "
                "send the study again to have it analysed by the present one"
            )
        return app

    def _settings(self, app: str) -> Mapping[str, object]:
        route = self._config.route_for(app)
        return route.settings if route else {}

    def _predecessor(self, job: JobRow) -> list[Path]:
        """The report of the latest earlier analysis of the study by the same app."""
        for earlier in self._ledger.earlier_jobs(job):
            folder = self.results_dir(earlier.job_id)
            if folder.exists():
                self._ledger.set_predecessor(job.job_id, earlier.job_id)
                return [
                    folder / entry.file
                    for entry in read_manifest(folder).objects
                    if entry.role == REPORT_ROLE
                ]
        return []


def verify_output(
    app: App,
    output: Path,
    inputs: Mapping[str, Sequence[Path]],
    input_digest: str,
    predecessors: Sequence[Path],
    study_instances: Collection[str] = (),
) -> None:
    """Nothing, when an app's output is what its app.toml promises.

    Raises:
        BrokenPromise: It is not.
    """
    verify_results(
        output,
        [OutputPromise(**one.model_dump()) for one in app.manifest.outputs],
        [path for paths in inputs.values() for path in paths],
        study_instances=study_instances,
        identity=ResultIdentity(
            app=app.name,
            app_version=app.manifest.app.version,
            model_digest=app.model_digest,
            input_digest=input_digest,
            training_kind=app.training_kind,
            training_statement=app.training_statement,
        ),
        predecessors={
            str(dcmread(path, specific_tags=["SOPInstanceUID"]).SOPInstanceUID) for path in predecessors
        },
    )


def sync(folder: Path) -> None:
    """Have every file below a folder, and the folder itself, on the disk."""
    for path in folder.rglob("*"):
        sync_folder(path)
    sync_folder(folder)


def sync_folder(path: Path) -> None:
    """Have one folder's entries, or one file's bytes, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
