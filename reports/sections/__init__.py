"""Report sections: one file each, found by walking this folder for modules with a ``SECTION`` constant."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reports.context import Context

__all__ = ["PARTS", "Section", "discover"]

PARTS = ("summary", "measurements", "risks", "record")
"""Parts of the report in order; the table of contents groups by them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A plug-in of the report.

    ``reads``: quantities of the policy, at least one of which must have values in the run, else the section is
    listed as not run; empty means always. ``roles``: roles one of which must have items, with the same effect;
    ``condition``: any further reason not to run.
    ``build`` gives the blocks in order and adds findings to the context; a ``closing`` section is
    built after all others, since it speaks of their findings.
    """

    section_id: str
    title: str
    part: str
    order: int
    build: Callable[[Context], Sequence[object]]
    reads: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    closing: bool = False
    condition: Callable[[Context], str] | None = None

    def not_run(self, context: Context) -> str:
        """Why the section cannot be built from this run; empty where it can."""
        if self.roles and not any(context.has_role(role) for role in self.roles):
            return f"the run holds no item of role {' or '.join(self.roles)}"
        if self.reads and not any(context.measures_for(name) for name in self.reads):
            patterns = [pattern for name in self.reads for pattern in context.policy.quantities.get(name, (name,))]
            names = list(dict.fromkeys(patterns))
            return f"no scorer of the run gave a value for {', '.join(names)}{context.why_absent(names)}"
        return self.condition(context) if self.condition else ""


def discover() -> tuple[Section, ...]:
    """All sections in the order of the page.

    Raises:
        ValueError: a module without ``SECTION``, a repeated id, an unknown part.
    """
    sections: dict[str, Section] = {}
    for module_info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        section = getattr(module, "SECTION", None)
        if not isinstance(section, Section):
            raise ValueError(f"reports/sections/{module_info.name}.py: has no SECTION; every file there is a section")
        if section.section_id in sections:
            raise ValueError(f"reports/sections/{module_info.name}.py: section id {section.section_id!r} is taken")
        if section.part not in PARTS:
            raise ValueError(f"reports/sections/{module_info.name}.py: part {section.part!r} is none of {PARTS}")
        sections[section.section_id] = section
    return tuple(sorted(sections.values(), key=lambda s: (PARTS.index(s.part), s.order, s.section_id)))
