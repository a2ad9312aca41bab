"""``make bench``: every benchmark, its table printed and kept in ``.bench/results.json``."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench import bench_large_ct, bench_latency, bench_receive

RESULTS = Path(__file__).resolve().parents[2] / ".bench" / "results.json"


def show(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows as a table."""
    table = Table(*rows[0].keys(), title=title, title_justify="left")
    for row in rows:
        table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    console.print(table)


def main() -> None:
    """All benchmarks, one after the other: they share the machine."""
    console = Console(width=160)
    load = os.getloadavg()[0]
    console.print(f"{platform.machine()}, {os.cpu_count()} cores, load before the start {load:.1f}")
    results: dict[str, Any] = {}
    for title, module in (
        ("receiving 200 CT slices of 512 x 512 on one association", bench_receive),
        ("last C-STORE to results at the destination, settle time excluded, warm", bench_latency),
        ("a CT of 300 slices of 512 x 512: msk_ct, and its objects one by one", bench_large_ct),
    ):
        results[title] = module.run()
        show(console, title, results[title])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
