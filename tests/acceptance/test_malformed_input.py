"""Whatever is sent or dropped in: no crash, no hang, every file accounted for in the ledger."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.acceptance.conftest import FOLDER, ROUTE
from tests.acceptance.node_process import NodeProcess

MakeNode = Callable[..., NodeProcess]


def counts(node: NodeProcess) -> tuple[int, int, int]:
    """Instances, refused receipts, growing studies."""
    ledger = sqlite3.connect(f"file:{node.data_dir / 'ledger.sqlite'}?mode=ro", uri=True)
    try:
        queries = (
            "SELECT count(*) FROM instance",
            "SELECT count(*) FROM refused_receipt",
            "SELECT count(*) FROM study WHERE is_growing",
        )
        instances, refused, growing = (ledger.execute(query).fetchone()[0] for query in queries)
    finally:
        ledger.close()
    return instances, refused, growing


def test_every_malformed_file_is_accounted_for(
    make_node: MakeNode, shared_data: Path, mibg_study: Path
) -> None:
    files = sorted((shared_data / "malformed").rglob("*.dcm"))
    assert len(files) == 142
    with make_node(destinations=FOLDER, routes=ROUTE.format('["results"]')) as node:
        inbox = node.data_dir / "inbox"

        def held() -> int:
            return sum(1 for _ in (node.data_dir / "instances").rglob("*.dcm"))

        def rejected() -> int:
            return len(list((inbox / "rejected").iterdir()))

        for number, path in enumerate(files):
            shutil.copy(path, inbox / f"{number:03d}_{path.name}")

        def taken() -> bool:
            left = [path for path in inbox.iterdir() if path.is_file()]
            instances, refused, growing = counts(node)
            # what is on the disk reaches the ledger a moment later
            return not left and growing == 0 and (instances, refused) == (held(), rejected())

        node.wait(taken, 300, "inbox empty and every study routed", detail=lambda: str(counts(node)))
        instances, refused, _ = counts(node)
        # one file that is stored may be the same instance, byte for byte, as another
        assert instances + refused <= len(files)
        assert instances
        assert refused
        for path in files:
            subprocess.run(
                ["/usr/bin/storescu", "-R", "-aec", "DICOMNODE", "127.0.0.1", str(node.dicom_port), path],
                capture_output=True,
                timeout=60,
                check=False,
            )
        node.wait(lambda: counts(node)[2] == 0, 300, "every study routed")
        studies = httpx.get(f"{node.api}/studies?limit=200", timeout=30).json()
        assert studies
        echo = ["/usr/bin/echoscu", "-aec", "DICOMNODE", "127.0.0.1", str(node.dicom_port)]
        subprocess.run(echo, check=True, timeout=60)
        node.store(mibg_study)
        node.wait(
            lambda: any(job["state"] == "delivered" for job in node.jobs()), 300, "a good study delivered"
        )
    broken = [line for line in node.log_lines() if line["action"] in {"route_retry", "attempt_broke"}]
    assert broken == []
