"""A ledger as the first version of the program left it, made without the program's present tables."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from sqlalchemy import Engine, text

import dicom_node.store

JOB_ID = "0123456789abcdef0123"
PROGRESS_COLUMNS = ("progress_stage", "progress_share")
_FILL = (
    "INSERT INTO job VALUES (:id, '1.2.3', 1, 'an_app', '0.1.0', 'sha256:0', 'sha256:1',"
    " '{\"early\": [\"instances/1.dcm\"]}', '[]', '[\"pacs\"]', NULL, 'running', '', '', 1, 0,"
    " '2026-01-02 03:04:05.000000', '2026-01-02 03:04:05.000000')"
)
_OPEN = """
import sys
from pathlib import Path
from dicom_node.store.ledger import open_ledger
print("ready", flush=True)
sys.stdin.readline()
open_ledger(sys.argv[1], Path(sys.argv[2])).close()
"""


def make_first_ledger(engine: Engine) -> None:
    """The tables of version 0001 in an empty database, with one job."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(dicom_node.store.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text(_FILL), {"id": JOB_ID})


def start_opening(url: str, data_dir: Path, count: int) -> list[subprocess.Popen[str]]:
    """Processes that open the ledger at the same moment, as the roles of a node do; all have begun."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _OPEN, url, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return processes


def complaints(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    """The last line of each process that could not open the ledger."""
    said = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
    return [text.splitlines()[-1] for text, code in said if code]
