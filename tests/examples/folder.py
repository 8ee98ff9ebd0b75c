"""The working folder that the examples expect: pyspark's ``data``, and small files in the place of the resources that
the pip package lacks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet
import pyspark

_USERS = pa.table(
    {
        "name": ["Alyssa", "Ben"],
        "favorite_color": [None, "red"],
        "favorite_numbers": pa.array([[3, 9, 15, 20], []], pa.list_(pa.int32())),
    }
)


def prepare(folder: Path) -> Path:
    """Fill *folder* and return it."""
    shutil.copytree(Path(pyspark.__file__).parent / "data", folder / "data")
    resources = folder / "examples/src/main/resources"
    inner = resources / "dir1/dir2"
    inner.mkdir(parents=True)
    people = [{"name": "Michael"}, {"name": "Andy", "age": 30}, {"name": "Justin", "age": 19}]
    (resources / "people.json").write_text("".join(json.dumps(it) + "\n" for it in people))
    (resources / "people.txt").write_text("Michael, 29\nAndy, 30\nJustin, 19\n")
    (resources / "people.csv").write_text("name;age;job\nJorge;30;Developer\nBob;32;Developer\n")
    (resources / "people.xml").write_text(
        "<people><person><name>Michael</name><age>29</age></person>"
        "<person><name>Andy</name><age>30</age></person></people>\n"
    )
    (resources / "kv1.txt").write_text("".join(f"{it}\x01val_{it}\n" for it in range(20)))
    pa.parquet.write_table(_USERS, resources / "users.parquet")
    pa.orc.write_table(_USERS, resources / "users.orc")
    for place in (inner.parent / "file1.parquet", inner / "file2.parquet"):
        pa.parquet.write_table(pa.table({"file": [place.name]}), place)
    (folder / "numbers.txt").write_text("5 3 9 1\n2 8\n")
    (folder / "words.txt").write_text("a b c d e f g\n" * 40)
    (folder / "places.txt").write_text("china japan india asia china europe\n" * 40)
    (folder / "points.txt").write_text("".join(f"{it % 2} {it} {it * 2 - 7}\n" for it in range(20)))
    features = (" ".join(str((it * step) % 7) for step in range(1, 11)) for it in range(20))
    (folder / "lr_data.txt").write_text("".join(f"{number % 2} {it}\n" for number, it in enumerate(features)))
    return folder
