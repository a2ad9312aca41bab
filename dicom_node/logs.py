"""Log lines: each has an action, and identifiers are fields, so that neither hides the other.

No patient attribute is ever logged. Study UIDs are: an administrator needs them to
find the study, and they name nobody by themselves.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from datetime import UTC, datetime
from typing import Literal

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD}


class TextFormatter(logging.Formatter):
    """Lines for people: time, level, action, message, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line (and the traceback, when there is one)."""
        fields = _fields(record)
        action = fields.pop("action", record.name)
        rest = " ".join(f"{key}={value}" for key, value in fields.items())
        at = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
        line = f"{at} {record.levelname:<7} {action}: {record.getMessage()}{'  ' + rest if rest else ''}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """Lines for machines: one JSON object each."""

    def format(self, record: logging.LogRecord) -> str:
        """One JSON object."""
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def set_up(style: Literal["text", "json"], level: int = logging.INFO) -> None:
    """Send the node's log to standard error; other libraries only from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("dicom_node").setLevel(level)
    # their warnings, and their INFO and WARNING lines, quote values of data sets
    warnings.filterwarnings("ignore", module="pydicom")
    warnings.filterwarnings("ignore", module="pynetdicom")
    for noisy in ("pydicom", "pynetdicom", "httpx", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
