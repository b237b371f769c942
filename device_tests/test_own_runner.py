"""A program of the user's on a phone: sent with its library, and its figures read."""

import shutil
import subprocess
from pathlib import Path

import pytest

from device_tests.rigs.phone import Phone
from edgedistill.measure.harness import Protocol
from edgedistill.measure.own_runner import bench_with

# Prints as executor_runner does; its library gives the milliseconds.
MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
double milliseconds();
int main(int count, char **words) {
    int runs = 1;
    for (int i = 1; i < count; i++) sscanf(words[i], "--num_executions=%d", &runs);
    struct timespec pause = {0, 300000000};
    nanosleep(&pause, NULL);
    printf("I 00:00:00.004 executorch:executor_runner.cpp:700] Model loaded in 4.250000 ms.\\n");
    for (int i = 1; i <= runs; i++) printf("I 00:00 executorch] Iteration %d of %d: %f ms\\n", i, runs, i == 1 ? 9.0 : milliseconds());
    printf("I 00:00:00.100 executorch:executor_runner.cpp:720] Model executed successfully %d time(s) in %f ms.\\n", runs, 4.0 * runs);
}
"""


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
def test_a_program_and_its_library_run_on_a_phone(phone: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in phone.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "main.c").write_text(MAIN)
    (tmp_path / "took.c").write_text("double milliseconds() { return 4.0; }")
    subprocess.run(["cc", "-shared", "-fPIC", "-nostdlib", "-o", "libtook.so", "took.c"], check=True)
    subprocess.run(["cc", "-o", "executor_runner", "main.c", "-L.", "-ltook"], check=True)
    (tmp_path / "net.pte").write_bytes(b"a model")
    found = bench_with(str(tmp_path / "executor_runner"), tmp_path / "net.pte", phone.spec, Protocol(preset="quick"))
    assert found.reasons != [], "a rig is no device"
    assert found.latency_ms.p50 == pytest.approx(4.0), found.reasons
    assert found.first_inference_ms == pytest.approx(9.0)
    assert found.command[0].startswith(phone.sh("ls -d /data/local/tmp/edgedistill").strip())
    assert found.program.kind == "executor_runner"
    assert found.id
