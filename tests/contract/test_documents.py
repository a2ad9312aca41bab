"""Documentation that lags behind the program fails here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import conformance, reference
from dicom_node import __version__
from dicom_node.catalog import App, find_apps
from dicom_node.cli import main

REPOSITORY = Path(__file__).resolve().parents[2]
APPS = find_apps()


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_the_configuration_reference_is_what_the_types_say() -> None:
    assert text_of("deploy/configuration.md") == reference.reference(), "run: python -m deploy.reference"


def test_every_configuration_key_has_a_meaning() -> None:
    for title, _, model in reference.SECTIONS:
        for key, _, meaning in reference.rows_of(model):
            assert meaning, f"{title} {key} has no description"


def test_the_conformance_statement_is_what_the_program_does() -> None:
    assert text_of("deploy/conformance.md") == conformance.statement(), "run: python -m deploy.conformance"


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_is_in_the_readme(command: str) -> None:
    assert f"dicom-node {command}" in text_of("README.md")


def test_the_readme_names_the_two_commands_of_a_newcomer() -> None:
    readme = text_of("README.md")
    assert "make demo" in readme
    assert "make test" in readme


def test_every_make_target_that_the_readme_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), re.M))
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", text_of("README.md") + text_of("CONTRIBUTING.md"), re.M))
    assert named <= targets, named - targets


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "deploy/decisions/README.md"])
def test_every_link_to_a_file_leads_somewhere(name: str) -> None:
    page = REPOSITORY / name
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), f"{name}: {target}"


def test_every_version_of_the_ledger_is_on_the_page_about_updates() -> None:
    page = text_of("deploy/update.md")
    for migration in (REPOSITORY / "dicom_node" / "store" / "migrations" / "versions").glob("0*.py"):
        assert f"| {migration.name[:4]} |" in page, migration.name


def test_the_changelog_has_what_is_being_made_or_this_version() -> None:
    changelog = text_of("CHANGELOG.md")
    assert "## [Unreleased]" in changelog or f"## [{__version__}]" in changelog
    for app in APPS:
        assert app.name in changelog, f"{app.name} is not in CHANGELOG.md"


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.name)
def test_every_app_is_in_the_readme(app: App) -> None:
    assert app.name in text_of("README.md")


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = sorted(int(path.name[:4]) for path in (REPOSITORY / "deploy" / "decisions").glob("0*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_no_prints_and_no_todo_are_left() -> None:
    found = subprocess.run(
        ["git", "grep", "-nE", r"\b(TODO|FIXME|XXX)\b", "--", "*.py"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
    ).stdout.splitlines()
    assert [line for line in found if "test_documents" not in line] == []


def test_the_service_imports_neither_torch_nor_an_app() -> None:
    code = (
        "import sys, dicom_node.cli, dicom_node.serve, dicom_node.run;"
        "bad = [m for m in sys.modules if m.split('.')[0] in {'torch', 'monai', 'highdicom', 'apps'}];"
        "sys.exit(', '.join(sorted(bad)[:5]) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
