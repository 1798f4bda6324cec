"""A seal on a table that a resumed run builds on: a digest of its values inside the file, checked when it is read.

Parquet notices damage to its pages where checksums were written, but not to its footer: of all single flipped bits in a
small part, one in fifty gave other values in silence. A sealed table that was damaged anywhere is refused.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.whole_files import whole_file

__all__ = ["DamagedTableError", "read_sealed", "write_sealed"]

SEAL = b"audiolm_audit_values_sha256"


class DamagedTableError(ValueError):
    """A table whose bytes were changed after it was written, or that was never sealed."""


def write_sealed(path: Path, table: pa.Table) -> None:
    """Write Parquet with its seal, whole or not at all."""
    sealed = table.replace_schema_metadata({SEAL: _digest(table)})
    with whole_file(path) as temporary:
        pq.write_table(sealed, temporary, compression="zstd", write_page_checksum=True)


def read_sealed(path: Path) -> pa.Table:
    """The table, as it was written.

    Raises:
        DamagedTableError: it cannot be read, has no seal, or its values are not those that were sealed.
    """
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        seal = (table.schema.metadata or {}).get(SEAL)
        intact = seal is not None and seal == _digest(table)
    except (pa.ArrowException, OSError, UnicodeError, ValueError, OverflowError, MemoryError) as error:
        raise DamagedTableError(f"{path}: is damaged ({str(error).splitlines()[0][:200]})") from error
    if not intact:
        raise DamagedTableError(f"{path}: is damaged, its values are not those that were written")
    return table.replace_schema_metadata(None)


def _digest(table: pa.Table) -> bytes:
    """Over names, types and values, whatever the buffers they lie in."""
    digest = hashlib.sha256(str(table.num_rows).encode())
    for field in table.schema:
        digest.update(f"\0{field.name}\0{field.type}\0".encode("utf-8", "surrogatepass"))
        for part in _values(table.column(field.name)):
            digest.update(part)
    return digest.hexdigest().encode()


def _values(column: pa.ChunkedArray) -> list[bytes]:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # as older versions give it
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    missing = np.packbits(array.is_null().to_numpy(zero_copy_only=False)).tobytes()
    if pa.types.is_string(array.type):
        texts = [("" if text is None else text).encode("utf-8", "surrogatepass") for text in array.to_pylist()]
        return [missing, np.array([len(text) for text in texts], np.int64).tobytes(), b"".join(texts)]
    if pa.types.is_floating(array.type) or pa.types.is_integer(array.type):
        return [missing, np.ascontiguousarray(array.fill_null(0).to_numpy(zero_copy_only=False)).tobytes()]
    return [missing, repr(array.to_pylist()).encode("utf-8", "surrogatepass")]
