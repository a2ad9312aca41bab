"""The commands that need an app's own code: phantom, train, evaluate.

``dicom-node`` starts this in a process of its own, because it never imports torch or an app
itself. Every app offers ``phantom.generate``, ``train.train`` and ``evaluate.evaluate``.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from operators.errors import AppError

EXIT_FAILED = 1
EXIT_REFUSED = 3


@click.group()
def main() -> None:
    """Commands that run an app's own code."""
    warnings.simplefilter("ignore")


@main.command()
@click.argument("app")
@click.option("--seed", type=int, required=True)
@click.option("--count", type=int, required=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--shift", is_flag=True)
def phantom(app: str, seed: int, count: int, output: Path, shift: bool) -> None:
    """Make phantom cases with the seeds SEED to SEED + COUNT - 1, one folder each."""
    generate = _function(app, "phantom", "generate")
    output.mkdir(parents=True, exist_ok=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        for index in progress.track(range(count), description=f"phantoms of {app}"):
            generate(seed + index, output / f"case_{seed + index:06d}", shift=shift)
    click.echo(f"{count} cases of {app} in {output}", err=True)


@main.command()
@click.argument("app")
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--output", type=click.Path(path_type=Path), required=True)
@click.option("--seed", type=int, default=0)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option("--shuffle-labels", is_flag=True)
@click.option("--backbone", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def train(
    app: str, data: Path, output: Path, seed: int, device: str, shuffle_labels: bool, backbone: Path | None
) -> None:
    """Train the app's model on cases and write its bundle."""
    learn = _function(app, "train", "train")
    asked: dict[str, Any] = {"shuffle_labels": shuffle_labels, "backbone": backbone}
    asked = {name: value for name, value in asked.items() if value}
    for name in asked.keys() - inspect.signature(learn).parameters.keys():
        raise click.UsageError(f"training of {app} has no --{name.replace('_', '-')}")
    learn(data, output, seed=seed, device=device, **asked)
    click.echo(f"bundle of {app} in {output}", err=True)


@main.command()
@click.argument("app")
@click.option("--data", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--bundle", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option("--json", "as_json", is_flag=True)
def evaluate(app: str, data: Path, bundle: Path, device: str, as_json: bool) -> None:
    """Measure the app's model on cases that it has not been trained on."""
    evaluation: Any = _function(app, "evaluate", "evaluate")(data, bundle=bundle, device=device)
    if as_json:
        click.echo(json.dumps(evaluation.to_json_dict(), indent=1))
    else:
        click.echo(evaluation.table())


@main.command("blur-faces")
@click.argument("source", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
def blur_faces(source: Path, target: Path) -> None:
    """Hide the faces in the video SOURCE and write it to TARGET; prints how many frames had one."""
    from operators.video.blur_faces import blur_faces as hide_in

    hidden = hide_in(source, target)
    click.echo(json.dumps({"frames": hidden.frames, "frames_with_face": hidden.frames_with_face}))


def _function(app: str, module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"apps.{app}.{module}"), name)


if __name__ == "__main__":
    try:
        main()
    except (AppError, ValueError, OSError) as error:
        Console(stderr=True, highlight=False).print(f"{type(error).__name__}: {error}", markup=False)
        sys.exit(EXIT_REFUSED if type(error).__name__ == "Refused" else EXIT_FAILED)
