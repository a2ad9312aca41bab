"""Receiver, worker and web as three processes that share PostgreSQL and one instance store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.acceptance.conftest import FOLDER, ROUTE
from tests.acceptance.node_process import NodeProcess
from tests.integration.postgresql import start_postgresql


def test_roles_in_processes_of_their_own_deliver_a_study(
    make_node: Callable[..., NodeProcess], mibg_study: Path, tmp_path: Path
) -> None:
    server = start_postgresql(tmp_path / "postgresql")
    try:
        receiver = make_node(
            destinations=FOLDER, routes=ROUTE.format('["results"]'), node=f'database = "{server.url}"'
        )
        worker, web = receiver.sibling(), receiver.sibling()
        receiver.start("receive")
        web.start("web")
        assert receiver.store(mibg_study).returncode == 0
        web.wait_for_jobs(1, {"ready"})
        worker.start("work")
        try:
            web.wait_for_jobs(1, {"delivered"})
        finally:
            worker.stop()
            web.stop()
            receiver.stop()
    finally:
        server.stop()
    assert list((receiver.folder / "results").rglob("segmentation.dcm"))
