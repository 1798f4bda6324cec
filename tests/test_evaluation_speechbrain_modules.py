"""SpeechBrain leaves nothing behind that other code falls over."""

from __future__ import annotations

import subprocess
import sys

LOOK_AT_ALL = """
import sys
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
from evaluation.speaker.speechbrain_modules import forget_stand_ins
gone = forget_stand_ins()
assert "speechbrain.k2_integration" in gone, gone
for module in list(sys.modules.values()):
    if type(module).__module__.startswith("speechbrain"):
        getattr(module, "a_name_that_no_module_has", None)
assert not forget_stand_ins() and ECAPA_TDNN(80, lin_neurons=8) is not None
"""


def test_every_loaded_module_can_be_looked_at_afterwards() -> None:
    done = subprocess.run([sys.executable, "-c", LOOK_AT_ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
