"""The graph of an app: a MONAI Deploy application that cannot fail in silence.

The engine (holoscan) starts an operator only when each of its outputs has a receiver;
otherwise the operator never runs and ``run()`` still returns normally. `Graph` therefore
checks its wiring first, and afterwards that the result was written. The engine's own
messages, which repeat exceptions and with them patients' data, are off unless
``HOLOSCAN_LOG_LEVEL`` asks for them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holoscan.conditions import CountCondition
from holoscan.logger import LogLevel, set_log_level
from monai.deploy.core import (  # type: ignore[attr-defined]
    Application,
    ExecutionContext,
    InputContext,
    Operator,
    OperatorSpec,
    OutputContext,
)

RESULT_FILE = "result.json"
"""Written last, so that its presence means that every object is there."""


class LooseEnd(RuntimeError):
    """An operator's port is not connected, so the graph would end without a result."""


class NoResult(RuntimeError):
    """The graph ended normally but wrote no result."""


class Step(Operator):
    """An operator that receives, calls one function, and emits.

    Subclasses name their ports and implement `work`, which takes what was received, in
    the order of ``receives``, and returns what is emitted: a tuple, when there are
    several ports in ``emits``.
    """

    receives: tuple[str, ...] = ()
    emits: tuple[str, ...] = ()

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        for port in self.receives:
            spec.input(port)
        for port in self.emits:
            spec.output(port)

    def work(self, *received: Any) -> Any:
        """What is done with the inputs."""
        raise NotImplementedError

    def compute(self, op_input: InputContext, op_output: OutputContext, _context: ExecutionContext) -> None:
        """Receive, work, emit."""
        result = self.work(*(op_input.receive(port) for port in self.receives))
        results = (result,) if len(self.emits) == 1 else result or ()
        for port, emitted in zip(self.emits, results, strict=True):
            op_output.emit(emitted, port)


class Call(Step):
    """A step that is one function of an app: what is received goes in, what it returns is emitted.

    Args:
        fragment: The graph.
        function: Takes one argument for each of ``receives``.
        receives: Names of the inputs.
        emits: Names of the outputs.
    """

    def __init__(
        self,
        fragment: Any,
        *args: Any,
        function: Callable[..., Any],
        receives: tuple[str, ...] = (),
        emits: tuple[str, ...] = (),
        **kwargs: Any,
    ) -> None:
        self.function = function
        self.receives, self.emits = receives, emits
        super().__init__(fragment, *args, **kwargs)

    def work(self, *received: Any) -> Any:
        """Call the function."""
        return self.function(*received)


class Graph(Application):
    """An application that runs once, quietly, and ends with a result or an exception.

    Subclasses implement ``compose`` and start their first operator with ``self.once()``.

    Args:
        output_dir: Where the last operator writes `RESULT_FILE`.
    """

    def __init__(self, output_dir: Path, *args: Any, **kwargs: Any) -> None:
        self.output_dir = output_dir
        if "HOLOSCAN_LOG_LEVEL" not in os.environ:
            set_log_level(LogLevel.OFF)
        # Without an explicit argv the engine would parse the command line of the process.
        super().__init__([sys.executable, type(self).__name__], *args, **kwargs)

    def once(self) -> CountCondition:
        """Condition of an operator without inputs: it runs a single time."""
        return CountCondition(self, 1)

    def run(self) -> None:
        """Run every operator.

        Raises:
            LooseEnd: A port is not connected.
            NoResult: The operators ran, but no result was written.
            Exception: Whatever an operator raised, with its own type.
        """
        self.compose_graph()
        _check_wiring(self.graph.get_nodes(), self)
        result = self.output_dir / RESULT_FILE
        result.unlink(missing_ok=True)
        super().run()
        if not result.is_file():
            raise NoResult(f"{type(self).__name__} ended without writing {RESULT_FILE}")


def _check_wiring(operators: list[Operator], graph: Graph) -> None:
    for operator in operators:
        sent = {port for other in operators for port in _ports(graph, operator, other)}
        received = {
            target
            for other in operators
            for targets in _ports(graph, other, operator).values()
            for target in targets
        }
        loose = (set(operator.spec.outputs) - sent) | (set(operator.spec.inputs) - received)
        if loose:
            raise LooseEnd(f"operator {operator.name!r}: {', '.join(sorted(loose))} is not connected")


def _ports(graph: Graph, source: Operator, target: Operator) -> dict[str, set[str]]:
    """Output name of the source to the inputs of the target that receive it."""
    return dict(graph.graph.get_port_map(source, target) or {})
