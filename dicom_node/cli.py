"""``dicom-node``: the command line. Each command is a few lines over the module that does the work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dicom_node import __version__, logs
from dicom_node.config import NodeConfig, load, openings
from dicom_node.errors import Failed, IllegalTransition, Misconfigured, Refused
from dicom_node.progress import show_progress
from dicom_node.receive.video.commands import unwrap_video, wrap_video

EXIT_FAILED = 1
EXIT_MISUSED = 2
EXIT_REFUSED = 3

CONFIG = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    default="node.toml",
    envvar="DICOM_NODE_CONFIG",
    show_default=True,
    show_envvar=True,
    help="Configuration file; deploy/configuration.md describes every key.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="For scripts.")
DEVICE = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
APPS = click.option(
    "--apps",
    "app_roots",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    help="Folder of further apps; may be given several times.",
)


def _fail(message: str, code: int) -> None:
    click.echo(message, err=True)
    sys.exit(code)


def _load(path: Path) -> NodeConfig:
    try:
        return load(path)
    except Misconfigured as error:
        _fail(str(error), EXIT_MISUSED)
        raise


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dicom-node")
def main() -> None:
    """A DICOM inference node: receives studies, runs apps on them, returns results to the PACS."""


main.add_command(wrap_video)
main.add_command(unwrap_video)


@main.command()
@CONFIG
@click.option(
    "--role",
    type=click.Choice(["all", "receive", "work", "web"]),
    default="all",
    show_default=True,
    help="Which part of the node this process is.",
)
def serve(config_path: Path, role: str) -> None:
    """Run the node until it is told to stop (SIGTERM or Ctrl-C)."""
    from dicom_node.serve import serve_forever

    config = _load(config_path)
    logs.set_up(config.node.log_format)
    try:
        serve_forever(config, role)
    except Misconfigured as error:
        _fail(f"{config_path}: {error}", EXIT_MISUSED)


@main.command("check-config")
@CONFIG
def check_config(config_path: Path) -> None:
    """Say whether a configuration can be served, and what it amounts to."""
    from dicom_node.serve import routed_apps

    config = _load(config_path)
    try:
        apps = routed_apps(config)
    except Misconfigured as error:
        _fail(f"{config_path}: {error}", EXIT_MISUSED)
        raise
    peers = ", ".join(f"{p.ae_title} at {p.host}" for p in config.peer) or "this machine only"
    click.echo(f"{config_path}: good")
    click.echo(f"  listens as {config.node.ae_title} on {config.node.host}:{config.node.port} to {peers}")
    click.echo(f"  keeps its data in {config.node.data_dir}")
    for opening in openings(config):
        click.echo(f"  warning: {opening}")
    for route in config.route:
        app = apps[route.app].manifest.app
        click.echo(f"  {app.name} {app.version} -> {', '.join(route.destinations)}")


@main.command()
@APPS
@JSON
def apps(app_roots: tuple[Path, ...], as_json: bool) -> None:
    """List the apps that are installed."""
    from dicom_node.catalog import find_apps

    found = find_apps(app_roots)
    if as_json:
        click.echo(json.dumps([app.summary() for app in found], indent=1, ensure_ascii=False))
        return
    table = Table("app", "version", "what it does", "trained on", "model")
    for app in found:
        summary = app.summary()
        table.add_row(
            summary["name"],
            summary["version"],
            summary["title"],
            summary["training_kind"],
            summary["problem"] or str(summary["model_digest"])[:19],
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)


@main.command()
@click.argument("app")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--settings",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="TOML file with the app's settings, as in [route.settings].",
)
@APPS
@DEVICE
def run(
    app: str,
    paths: tuple[Path, ...],
    output: Path,
    bundle: Path | None,
    settings: Path | None,
    app_roots: tuple[Path, ...],
    device: str,
) -> None:
    """Run one APP on files or folders at PATHS, without any network.

    Exit status: 0 results written, 3 refused (the reason on standard error), 1 failed, 2 wrong use.
    """
    from dicom_node.run import run_on_files

    try:
        with show_progress() as on_progress:
            summary = run_on_files(
                app,
                paths,
                output,
                device=device,
                bundle=bundle,
                settings=settings,
                app_roots=app_roots,
                on_progress=on_progress,
            )
    except Misconfigured as error:
        _fail(str(error), EXIT_MISUSED)
    except Refused as refused:
        _fail(f"refused: {refused}", EXIT_REFUSED)
    except Failed as failure:
        _fail(f"failed: {failure}", EXIT_FAILED)
    else:
        click.echo(summary)


@main.command()
@CONFIG
@click.option("--study", help="Only this Study Instance UID.")
@click.option("--state", help="Only jobs in this state.")
@JSON
def jobs(config_path: Path, study: str | None, state: str | None, as_json: bool) -> None:
    """Show what became of the studies: the jobs, and the verdict of every app."""
    from dicom_node.store.states import JobState
    from dicom_node.store.views import Views

    if state is not None and state not in set(JobState):
        _fail(f"--state {state}: allowed are {', '.join(JobState)}", EXIT_MISUSED)
    config = _load(config_path)
    ledger = _ledger(config, config_path)
    views = Views(ledger, config.node.data_dir, config.node.late_after_minutes)
    found = views.jobs(study_instance_uid=study, state=JobState(state) if state else None)
    if not as_json and study is not None and ledger.study(study) is None:
        _fail(
            f"no study {study} has been received; `dicom-node jobs` lists those that have jobs", EXIT_MISUSED
        )
    if as_json:
        documents = [document.model_dump(mode="json") for document in found]
        click.echo(json.dumps(documents, indent=1, ensure_ascii=False))
        return
    table = Table("job", "study", "app", "state", "attempts", "since", "reason and warnings", box=None)
    for job in found:
        at = job.updated_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        remarks = [job.reason] if job.reason else []
        remarks += [f"{job.progress.stage}, {job.progress.share:.0%}"] if job.progress else []
        remarks += [f"warning: {warning}" for warning in job.warnings]
        table.add_row(
            job.job_id,
            job.study_instance_uid,
            job.app,
            job.state,
            str(job.attempts),
            at,
            Text("\n".join(remarks)),
        )
    console = Console(width=None if sys.stdout.isatty() else 220)
    console.print(table)
    if study is not None and state is None:
        for verdict in ledger.verdicts(study):
            console.print(f"{verdict.app}: {verdict.verdict} {verdict.reason}", markup=False, highlight=False)


@main.command()
@click.argument("job")
@CONFIG
def retry(job: str, config_path: Path) -> None:
    """Begin a refused or failed JOB again; the running node takes it up."""
    from dicom_node.work import order_retry

    config = _load(config_path)
    ledger = _ledger(config, config_path)
    if ledger.job(job) is None:
        _fail(f"no job {job}; `dicom-node jobs` lists them", EXIT_MISUSED)
    try:
        order_retry(config, ledger, job)
    except IllegalTransition as error:
        _fail(f"{job}: {error}", EXIT_FAILED)
    click.echo(f"{job}: ready")


@main.command("take-back")
@click.argument("version")
@CONFIG
def take_back(version: str, config_path: Path) -> None:
    """Take the ledger back to VERSION (such as 0001), before an older dicom-node is installed again.

    Stop the node first, and keep a copy: what the older version does not know is lost.
    """
    from dicom_node.serve import unused
    from dicom_node.store.ledger import take_ledger_back

    config = _load(config_path)
    _require_ledger(config, config_path)
    try:
        with unused(config.node.data_dir):
            take_ledger_back(config.database_url(), version)
    except Misconfigured as error:
        _fail(f"{config_path}: {error}", EXIT_MISUSED)
    click.echo(f"the ledger is of version {version}")


@main.command(context_settings={"ignore_unknown_options": False})
@click.argument("app")
@click.option("--seed", type=int, required=True, help="Seed of the first case; the next has SEED + 1.")
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--shift", is_flag=True, help='Draw from "hospital B", which no training has seen.')
@APPS
def phantom(app: str, seed: int, count: int, output: Path, shift: bool, app_roots: tuple[Path, ...]) -> None:
    """Make phantom cases of APP: DICOM, truth.json and truth.nii.gz in a folder per case."""
    arguments = [app, "--seed", str(seed), "--count", str(count), "--output", str(output)]
    _app_command("phantom", app, [*arguments, *(["--shift"] if shift else [])], app_roots)


@main.command()
@click.argument("app")
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), required=True, help="Bundle to write."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--shuffle-labels",
    is_flag=True,
    help="Give patients each other's labels: a model that then does better than chance has a leak.",
)
@click.option(
    "--backbone",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Safetensors file of weights to start from, such as a ResNet's of natural images.",
)
@APPS
@DEVICE
def train(
    app: str,
    data: Path,
    output: Path,
    seed: int,
    shuffle_labels: bool,
    backbone: Path | None,
    app_roots: tuple[Path, ...],
    device: str,
) -> None:
    """Train APP on the cases in a folder: phantoms, or a hospital's own in the same layout.

    --shuffle-labels and --backbone are for apps that classify images.
    """
    arguments = [app, "--data", str(data), "--output", str(output), "--seed", str(seed), "--device", device]
    arguments += ["--shuffle-labels"] if shuffle_labels else []
    arguments += ["--backbone", str(backbone)] if backbone else []
    _app_command("train", app, arguments, app_roots)


@main.command()
@click.argument("app")
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Model bundle to measure; default: the one that ships with the app.",
)
@APPS
@DEVICE
@JSON
def evaluate(
    app: str, data: Path, bundle: Path | None, app_roots: tuple[Path, ...], device: str, as_json: bool
) -> None:
    """Measure APP on cases with known truth, with 95 % intervals over patients."""
    arguments = [app, "--data", str(data), "--device", device, *(["--json"] if as_json else [])]
    _app_command("evaluate", app, arguments, app_roots, bundle=bundle, needs_bundle=True)


def _app_command(
    command: str,
    app: str,
    arguments: list[str],
    app_roots: tuple[Path, ...],
    *,
    bundle: Path | None = None,
    needs_bundle: bool = False,
) -> None:
    """Run a command that needs the app's own code, in a process that may import it."""
    from dicom_node.catalog import find_app
    from dicom_node.infer.process import app_environment

    try:
        found = find_app(app, app_roots)
    except Misconfigured as error:
        _fail(str(error), EXIT_MISUSED)
        raise
    if needs_bundle:
        arguments = [*arguments, "--bundle", str(bundle or found.bundle_dir)]
    finished = subprocess.run(
        [sys.executable, "-m", "operators.command", command, *arguments],
        env=app_environment(app_roots),
        check=False,
    )
    sys.exit(finished.returncode)


def _ledger(config: NodeConfig, config_path: Path):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from dicom_node.store.ledger import open_ledger_as_it_is

    _require_ledger(config, config_path)
    try:
        ledger = open_ledger_as_it_is(config.database_url(), config.node.data_dir)
    except Misconfigured as error:
        _fail(f"{config_path}: {error}", EXIT_MISUSED)
        raise
    click.get_current_context().call_on_close(ledger.close)
    return ledger


def _require_ledger(config: NodeConfig, config_path: Path) -> None:
    """End here when SQLite would make an empty file of what is not there."""
    if config.node.database == "sqlite" and not (config.node.data_dir / "ledger.sqlite").exists():
        _fail(
            f"{config_path}: no ledger in {config.node.data_dir} yet; `dicom-node serve` makes it",
            EXIT_FAILED,
        )


if __name__ == "__main__":
    main()
