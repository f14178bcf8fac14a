# SPDX-License-Identifier: Apache-2.0
"""Memory of the processes that build, beside that of the steps themselves."""

import os
import threading
import time
from pathlib import Path

import pytest
from program import is_sanitized

LIMIT = 64 << 20


class Peak(threading.Thread):
    """The greatest resident memory of each process that runs our program, as the kernel counts
    it (VmHWM): pages that it shares with its parent are counted in both."""

    def __init__(self, program):
        super().__init__(daemon=True)
        self.program, self.peaks, self.is_over = program, {}, False

    def look(self):
        for proc in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(proc / "exe") != str(self.program.binary):
                    continue
                lines = (proc / "status").read_text().splitlines()
                if self.program.mark.encode() not in (proc / "environ").read_bytes():
                    continue
            except OSError:
                continue  # ended meanwhile
            for line in lines:
                if line.startswith("VmHWM:"):
                    peak = int(line.split()[1]) * 1024
                    self.peaks[proc.name] = max(self.peaks.get(proc.name, 0), peak)

    def run(self):
        while not self.is_over:
            self.look()
            time.sleep(0.01)

    def stop(self):
        self.is_over = True
        self.join()
        return self.peaks


BIG = "RUN mkdir /many && i=0; while test $i -lt 1000; do i=$((i+1)); echo $i > /many/$i; done; " \
      "dd if=/dev/zero of=/sparse bs=1M count=1 seek=1500; dd if=/dev/zero of=/full bs=1M count=200"
CASES = {
    "a step that writes much": f"FROM busybox:latest\n{BIG}\n",
    "what is copied from a stage": f"FROM busybox:latest AS one\n{BIG}\nFROM busybox:latest\n"
                                   "COPY --from=one /full /many /to/\n",
    "what is copied from the context": "FROM busybox:latest\nCOPY big /big\nCOPY many /many\n",
}


@pytest.mark.may_skip
@pytest.mark.parametrize("case", CASES)
def test_of_a_build(spaceport, make_space, case):
    if is_sanitized(spaceport.binary):
        pytest.skip("an ASan build says nothing about memory")
    space = make_space(CASES[case], {f"many/{i}": f"{i}\n" for i in range(1000)})
    with open(space / "big", "wb") as file:
        file.truncate(200 << 20)
    peak = Peak(spaceport)
    peak.start()
    spaceport.build(space, "--no-cache").ok()
    peaks = peak.stop()
    assert len(peaks) >= 2, peaks
    assert max(peaks.values()) <= LIMIT, {name: f"{b >> 20} MB" for name, b in peaks.items()}
    print(case, sorted(b >> 10 for b in peaks.values()), "KB")
