"""``python -m reports.schema_export FOLDER``: write the published JSON Schemas."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from reports.schemas import json_schemas

__all__ = ["schema_text", "write_schemas"]


def schema_text(schema: object) -> str:
    """A schema as it stands in its file."""
    return json.dumps(schema, indent=2, ensure_ascii=True) + "\n"


def write_schemas(folder: Path) -> list[Path]:
    """One file per model, ``<name>.schema.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, schema in json_schemas().items():
        path = folder / f"{name}.schema.json"
        path.write_text(schema_text(schema), encoding="utf-8")
        paths.append(path)
    return paths


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/schemas"))
