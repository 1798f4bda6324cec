"""A local desk beside a report: an analyst opens it in a browser and drops a clip to have it examined.

Bound to loopback; every address begins with a random token. A request never names a file: what can be asked for is laid
down when the desk starts (:mod:`evaluation.desk.addresses`), and a dropped clip travels as bytes without a name.
"""

from __future__ import annotations

from evaluation.desk.limits import Limits
from evaluation.desk.server import Desk

__all__ = ["Desk", "Limits"]
