"""Commands beside a node whose ledger is of another version: they change nothing, or only when told to."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine, inspect

from dicom_node.cli import EXIT_FAILED, EXIT_MISUSED, main
from dicom_node.serve import unused
from dicom_node.store.ledger import open_ledger
from tests.integration.earlier_ledger import JOB_ID, PROGRESS_COLUMNS, make_first_ledger


def columns_of_jobs(folder: Path) -> set[str]:
    engine = create_engine(f"sqlite:///{folder / 'ledger.sqlite'}")
    columns = {column["name"] for column in inspect(engine).get_columns("job")}
    engine.dispose()
    return columns


def command(folder: Path, *arguments: str) -> Result:
    config = folder / "node.toml"
    config.write_text('[node]\ndata_dir = "."\n', encoding="utf-8")
    return CliRunner().invoke(main, [*arguments, "--config", str(config)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Data folder of a node of the first version."""
    engine = create_engine(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    make_first_ledger(engine)
    engine.dispose()
    return tmp_path


@pytest.mark.parametrize("arguments", [("jobs",), ("retry", JOB_ID)], ids=["jobs", "retry"])
def test_a_command_leaves_the_ledger_of_an_earlier_node_as_it_is(
    arguments: tuple[str, ...], folder: Path
) -> None:
    done = command(folder, *arguments)
    assert done.exit_code == EXIT_MISUSED
    assert "version 0001, this program reads 0002" in done.stderr
    assert "dicom-node serve" in done.stderr
    assert columns_of_jobs(folder).isdisjoint(PROGRESS_COLUMNS)


def test_the_ledger_is_taken_back_when_no_node_uses_it(folder: Path) -> None:
    open_ledger(f"sqlite:///{folder / 'ledger.sqlite'}", folder).close()
    with unused(folder):
        done = command(folder, "take-back", "0001")
    assert (done.exit_code, "another node is using it" in done.stderr) == (EXIT_MISUSED, True)
    assert columns_of_jobs(folder) >= set(PROGRESS_COLUMNS)
    assert command(folder, "take-back", "0001").exit_code == 0
    assert columns_of_jobs(folder).isdisjoint(PROGRESS_COLUMNS)


def test_no_ledger_is_made_to_be_taken_back(tmp_path: Path) -> None:
    assert command(tmp_path, "take-back", "0001").exit_code == EXIT_FAILED
    assert not (tmp_path / "ledger.sqlite").exists()
