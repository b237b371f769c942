"""A plug-in of pytest: executes the programs of coremltools' own tests of operators by the executor of MIL.

Those tests hold what Core ML computes on a Mac to expected values, most of them written out by hand, and are part of the package. Here
their programs are executed as they were built, without conversion. What came of each is written to the file of the option --outcomes.
"""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from edgedistill.backends.coreml.mil import program as mil_program
from edgedistill.measure.runner.refusal import NotExecutable

MOST = 12
"""Parameters of a test that are tried, spread evenly: some have hundreds."""


_RELATIVE, _ABSOLUTE = 4e-4, 5e-4
"""How much may differ: some expected values are written with four digits, or were rounded to float16."""


class Different(AssertionError):
    """The executor gave something else than Apple expects of Core ML."""


def pytest_addoption(parser: Any) -> None:
    parser.addoption("--outcomes", type=Path)


class Outcomes:
    """What became of the tests."""

    def __init__(self, path: Path) -> None:
        self.path, self.executed = path, Counter[str]()
        self.different: dict[str, str] = {}
        self.refused: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        tests: dict[Any, list[Any]] = {}
        for item in items:
            if not any(word in item.name for word in ("fp16", "float16", "neuralnetwork")):
                tests.setdefault((item.path, item.cls, item.originalname), []).append(item)
        items[:] = [same[i * len(same) // min(MOST, len(same))] for same in tests.values() for i in range(min(MOST, len(same)))]

    def pytest_runtest_makereport(self, item: Any, call: Any) -> None:
        if call.excinfo is None:
            return
        error, name = call.excinfo.value, item.nodeid.rpartition("ops/tests/")[2]
        if isinstance(error, NotExecutable):
            self.refused[name] = str(error)
        elif isinstance(error, Different) or "cannot execute" in str(error):
            self.different[name] = str(error)[:2000]

    def pytest_sessionfinish(self) -> None:
        self.path.write_text(json.dumps({"executed": self.executed, "different": self.different, "refused": self.refused}))

    def compare(self, mlmodel: Any, input_key_values: Mapping[str, Any], expected_outputs: Mapping[str, Any], **options: Any) -> None:
        """Stands for coremltools' function that predicts on a Mac, and compares."""
        if options["state"] is None:
            program = mil_program.read(mlmodel)
        else:
            program = options["state"].setdefault("program", mil_program.read(mlmodel))
        found = mil_program.execute(program, {name: np.asarray(value) for name, value in input_key_values.items()})
        self.executed.update(step.operator for step in program.steps)
        for name, expected in expected_outputs.items():
            output, wanted = found[name].double().numpy(), np.asarray(expected, np.float64)
            if output.shape != wanted.shape and {output.size, wanted.size} != {1}:
                raise Different(f"{name}: found shape {output.shape}, expected {wanted.shape}")
            if not np.allclose(output.reshape(wanted.shape), wanted, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True):
                raise Different(f"{name}: found {output.ravel()[:40]}, expected {wanted.ravel()[:40]}")


def unconverted(built: Any) -> SimpleNamespace:
    """What the tests ask of a converted model, for a program as it was built."""
    from coremltools.converters.mil.mil import types

    (function,) = built.functions.values()
    stateful = any(types.is_state(value.sym_type) for value in function.inputs.values())
    return SimpleNamespace(_mil_program=built, _is_stateful=lambda: stateful, make_state=dict)


def pytest_configure(config: Any) -> None:
    mil_program.prepare(1)
    from coremltools.converters.mil.mil.ops.tests import testing_utils

    outcomes = Outcomes(config.getoption("outcomes"))
    config.pluginmanager.register(outcomes)
    testing_utils.compare_backend = outcomes.compare
    testing_utils.ct_convert = lambda built, **_: unconverted(built)
    mil_program._load = lambda model: (model._mil_program, set())
