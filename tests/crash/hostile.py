"""Damaged and hostile models and databases, made from valid ones: each number gives the same file again."""

import contextlib
import copy
import io
import json
import os
import shutil
import sqlite3
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

# Values in the place of any other.
ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 3.5, -0.0, 5e-324, 1e-300, 1e300, 2**31, 2**63, 10**25, -(10**299), 10**301),
    *(float("nan"), float("inf"), -float("inf"), "", "a", "none", "1", "-1", "relu", "dense", "val/loss", "train"),
    *("\x1b[31m", "\u202e", "\0", "\n", "../x", "x" * 3000, "[red]", "=1+1", "9" * 5000, "{", "%s", "<b>", "\x85"),
    *([], [[]], [{}], [None], [1], [1, 2, 3], ["x"], [True, 1.5], [[1, 2]], [0] * 500, {}, {"": {}}, {"a": 1}),
    *({"name": None}, {"layer": "dense"}, {"layer": "dense", "units": 1 << 30}, {"layer": "os.system"}),
    *({"layer": "residual", "layers": []}, {"layer": "conv2d", "channels": 1, "kernel": 1, "padding": 1 << 20}),
    *({"scaler": "standard"}, {"network": "sequential"}, {"units": 3}, {"x": "standard", "y": "quantile"}),
]  # fmt: skip
KEYS = ["a", "", "layer", "name", "units", "x", "y", "\x1b[2J", "val/loss", "val/\u202e", "stages", "x" * 300, "0"]
CELLS: list[Any] = [
    *(None, 0, -1, 1, 7, 2**31, 2**53, 2**62, -(2**62), 0.5, -1e308, 1e308, float("inf"), "", "a", "1", "running"),
    *("complete", "failed", "\x1b[31mred", "\u202e", "\0", "x\ny", "x" * 5000, "[]", "{}", "null", '{"a": 1}', "NaN"),
    *(b"", b"\xff\xfe", b"PK\x03\x04", b"\0" * 64, b"x" * 999, b"\x80\x04.", b"x\x9c\x03\x00\x00\x00\x00\x01"),
]  # fmt: skip


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = content.items() if isinstance(content, dict) else enumerate(content if isinstance(content, list) else ())
    for key, inner in items:
        yield from places(inner, (*path, key))


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def similar(value: Any, draw: np.random.Generator) -> Any:
    """Return a value of the same type."""
    match value:
        case bool():
            return not value
        case int():
            return value + int(draw.choice([-1, 1, 7, 1000]))
        case float():
            return value * float(draw.choice([-1, 0, 1e-30, 1e30]))
        case str():
            return value + str(draw.choice(["", "x", "é", "\x1b[2J", "\u2028", " "]))
        case list():
            return value[::-1] if draw.random() < 0.5 else value[1:]
    return value


def damage_json(content: Any, draw: np.random.Generator) -> str:
    """Return the text of the content with one to three parts replaced, removed, added, renamed or moved."""
    content = copy.deepcopy(content)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        paths = list(places(content))
        path = paths[draw.integers(len(paths))]
        odd = copy.deepcopy(ODD[draw.integers(len(ODD))])
        if not path:
            content = odd if draw.random() < 0.2 else content
            continue
        outer = content
        for key in path[:-1]:
            outer = outer[key]
        match draw.integers(9):
            case 0 | 1 | 2:
                outer[path[-1]] = odd
            case 7 | 8:
                outer[path[-1]] = similar(outer[path[-1]], draw)
            case 3:
                del outer[path[-1]]
            case 4 if isinstance(outer, dict):
                outer[KEYS[draw.integers(len(KEYS))]] = outer.pop(path[-1])
            case 5:
                outer[path[-1]] = nested(int(draw.choice([3, 30, 59, 61, 300])))
            case _ if isinstance(outer, list):
                outer += [outer[path[-1]]] * int(draw.choice([1, 2, 50]))
            case _:
                outer[KEYS[draw.integers(len(KEYS))]] = odd
        if not isinstance(content, dict | list):
            break
    text = json.dumps(content)
    return text.replace('"a"', '"\\ud800"', 1) if draw.random() < 0.05 else text


def damage_bytes(data: bytes, draw: np.random.Generator) -> bytes:
    """Return the bytes with some of them changed, removed, doubled or cut off."""
    result = bytearray(data)
    for _ in range(draw.integers(1, 6)):
        start = int(draw.integers(len(result) + 1))
        end = start + int(draw.choice([1, 1, 2, 8, 64]))
        match draw.integers(5):
            case 0 | 1 if start < len(result):
                result[start] ^= 1 << int(draw.integers(8))
            case 2:
                result[start:end] = b""
            case 3:
                result[start:end] = draw.bytes(end - start)
            case _:
                result[start:start] = result[start:end]
    return bytes(result[: draw.integers(len(result) + 1)] if draw.random() < 0.1 else result)


def _array(array: Any, draw: np.random.Generator) -> Any:
    """Return an array with another dtype, another shape, or other numbers."""
    numbers = array.dtype.kind == "f"
    with np.errstate(all="ignore"):
        match draw.integers(9):
            case 0 if numbers:
                return array.astype(draw.choice(["f2", "f8", "i4", "i8", "u1", "c8", "?", ">f4", "U5"]))
            case 1:
                return array.reshape(-1) if array.ndim > 1 else array[None]
            case 2:
                return array[..., :-1] if array.ndim else np.zeros(3)
            case 3:
                return np.concatenate([array, array]) if array.ndim else np.array([array, array])
            case 4 if numbers and array.size:
                result = array.copy()
                result.reshape(-1)[draw.integers(array.size)] = draw.choice([np.nan, np.inf, -np.inf, 3e38, 1e300, 0])
                return result
            case 5 if numbers:
                return array * draw.choice([0, -1, 1e30, 1e-45])
            case 6:
                return np.zeros((0, *array.shape))
            case 7:
                return np.zeros(1, object) if draw.random() < 0.3 else np.zeros((2, 2), [("a", "f4"), ("b", "i8")])
            case _:
                return np.array("x\x1b[31m")


def _damage_checkpoint(data: bytes, draw: np.random.Generator) -> bytes:
    """Return arrays that follow one another with a damaged array or damaged bytes."""
    if draw.random() < 0.3:
        return damage_bytes(data, draw)
    file, out = io.BytesIO(data), io.BytesIO()
    arrays = [np.load(file, allow_pickle=False) for _ in range(4)]
    number = draw.integers(len(arrays))
    arrays[number] = _array(arrays[number], draw)
    for array in arrays:
        np.save(out, array, allow_pickle=True)
    return out.getvalue()


def damage_npz(data: bytes, draw: np.random.Generator) -> bytes:
    """Return an `.npz` file with a damaged array, header, directory or content."""
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        arrays = dict(file)
    names = list(arrays)
    name = names[draw.integers(len(names))]
    out = io.BytesIO()
    match draw.integers(6):
        case 0 | 1:
            return damage_bytes(data, draw)
        case 2 | 3:
            arrays[name] = _array(arrays[name], draw)
        case 4:
            array = arrays.pop(name)
            if draw.random() < 0.5:
                arrays[f"{name}x"] = array
        case _:
            shape = draw.choice(
                ["(1000000000000,)", "(-1,)", "(1, 1, 1, 1)", "(99999, 99999, 99999)", "(True,)", "((", "()"]
            )
            descr = draw.choice(
                ["'<f4'", "'O'", "'V0'", "'<U0'", "[('a', '<f4')]", "'|S999999999'", "'<f4", "1", "'m8'"]
            )
            header = f"{{'descr': {descr}, 'fortran_order': {draw.choice(['True', 'False', '2'])}, 'shape': {shape}, }}"
            method = zipfile.ZIP_DEFLATED if draw.random() < 0.5 else zipfile.ZIP_STORED
            with zipfile.ZipFile(out, "w", method) as archive:
                for key, array in arrays.items():
                    member = io.BytesIO()
                    np.lib.format.write_array(member, array, allow_pickle=False)
                    content = member.getvalue()
                    if key == name:
                        zeros = bytes(int(draw.choice([0, 100, 1 << 22])))
                        content = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + zeros
                    archive.writestr(f"{key}.npy", content)
            return out.getvalue()
    np.savez(out, **arrays)
    return out.getvalue()


def damage_model(folder: Path, draw: np.random.Generator) -> None:
    """Damage the folder of a model."""
    text, weights = folder / "model.json", folder / "weights.npz"
    match draw.integers(12):
        case 0 | 1 | 2 | 3 | 4:
            text.write_text(damage_json(json.loads(text.read_text("utf-8")), draw), "utf-8")
        case 5 | 6:
            text.write_bytes(damage_bytes(text.read_bytes(), draw))
        case 7 | 8 | 9 | 10:
            weights.write_bytes(damage_npz(weights.read_bytes(), draw))
        case _:
            victim = text if draw.random() < 0.5 else weights
            victim.unlink()
            kinds: list[Callable[[], object]] = [
                lambda: os.mkfifo(victim),
                lambda: victim.symlink_to(victim),
                lambda: victim.symlink_to("/dev/zero"),
                lambda: victim.mkdir(),
                lambda: victim.touch(),
                lambda: victim.write_text("[" * 100_000),
                lambda: None,
            ]
            kinds[draw.integers(len(kinds))]()


def _packed_json(data: bytes, draw: np.random.Generator) -> bytes:
    if draw.random() < 0.1:
        return zlib.compress(b"[" * int(draw.choice([10_000, 1 << 22])))
    return zlib.compress(damage_json(json.loads(zlib.decompress(data)), draw).encode())


def damaged_cell(column: str, cell: Any, draw: np.random.Generator) -> Any:
    """Return another cell: of any type, or with damaged content."""
    if cell is None or draw.random() < 0.35:
        return CELLS[draw.integers(len(CELLS))]
    if isinstance(cell, bytes):
        if draw.random() < 0.3 or not cell:
            return damage_bytes(cell, draw)
        if column in ("history", "diagnostics"):
            return _packed_json(cell, draw)
        if column == "content":
            return damage_npz(cell, draw)
        if column == "state":
            content = _damage_checkpoint(cell[:-4], draw)
            return content + zlib.crc32(content).to_bytes(4)
        return damage_bytes(cell, draw)
    if isinstance(cell, str):
        if cell.startswith("{") and draw.random() < 0.8:
            with contextlib.suppress(ValueError):  # the cell is damaged already
                return damage_json(json.loads(cell), draw)
        return damage_bytes(cell.encode(), draw).decode("utf-8", "replace")
    if isinstance(cell, int):
        return int(np.clip(cell + int(draw.choice([-1, 1, 100, -(2**40), 2**40])), -(2**62), 2**62))
    return cell * float(draw.choice([-1, 0, 1e10, 1e300]))


def damage_database(file: Path, draw: np.random.Generator) -> None:
    """Damage a study database: cells, rows, columns, tables, or bytes of its file."""
    if draw.random() < 0.15:
        file.write_bytes(damage_bytes(file.read_bytes(), draw))
        return
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        listed = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        names = [name for (name,) in listed if not name.startswith("sqlite_")]
        ours = [name for name in names if name.startswith("hpsearch_")]
        for _ in range(draw.integers(1, 4)):
            table = (ours if draw.random() < 0.85 else names)[draw.integers(len(ours))]
            try:
                _damage_table(connection, table, draw)
            except sqlite3.Error:  # a constraint, or the table is gone
                continue


def _damage_table(connection: sqlite3.Connection, table: str, draw: np.random.Generator) -> None:
    columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
    rows = [row[0] for row in connection.execute(f'SELECT rowid FROM "{table}"')]
    if not rows:
        return
    row, column = rows[draw.integers(len(rows))], columns[draw.integers(len(columns))]
    match draw.integers(20):
        case 0:
            connection.execute(f'DROP TABLE "{table}"')
        case 1:
            connection.execute(f'ALTER TABLE "{table}" DROP COLUMN "{column}"')
        case 2:
            connection.execute(f'DELETE FROM "{table}"' + (f" WHERE rowid = {row}" if draw.random() < 0.7 else ""))
        case 3:
            listed = ", ".join(f'"{name}"' for name in columns)
            other = ", ".join("rowid + 1000" if name == "number" else f'"{name}"' for name in columns)
            connection.execute(f'INSERT INTO "{table}" ({listed}) SELECT {other} FROM "{table}"')
        case 4:
            connection.execute(f'ALTER TABLE "{table}" RENAME TO "{table}2"')
            connection.execute(f'CREATE VIEW "{table}" AS SELECT * FROM "{table}2"')
        case _:
            (cell,) = connection.execute(f'SELECT "{column}" FROM "{table}" WHERE rowid = {row}').fetchone()
            everywhere = "" if draw.random() < 0.2 else f" WHERE rowid = {row}"
            damaged = damaged_cell(column, cell, draw)
            connection.execute(f'UPDATE OR IGNORE "{table}" SET "{column}" = ?{everywhere}', (damaged,))


def copied(source: Path, target: Path) -> Path:
    """Copy a file or a folder to a place that may hold anything."""
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        for end in ("-wal", "-shm", ".lock"):
            Path(f"{target}{end}").unlink(missing_ok=True)
        shutil.copyfile(source, target)
    return target
