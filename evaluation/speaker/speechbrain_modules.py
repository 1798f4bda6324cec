"""What importing SpeechBrain leaves behind, put away.

SpeechBrain enters stand-ins for modules it has moved into ``sys.modules``. They import their target when any attribute
is asked for, and raise ImportError where its optional package (k2, for one) is missing: whoever looks through all
loaded modules afterwards, as ``inspect`` and Hypothesis do, falls over them.
"""

from __future__ import annotations

import sys

__all__ = ["forget_stand_ins"]


def forget_stand_ins() -> list[str]:
    """Take SpeechBrain's lazy stand-ins out of ``sys.modules``; gives their names. Call it after importing from it."""
    lazy = [
        name
        for name, module in sys.modules.items()
        if name.startswith("speechbrain.") and any(kind.__name__ == "LazyModule" for kind in type(module).__mro__)
    ]
    for name in lazy:
        del sys.modules[name]
    return lazy
