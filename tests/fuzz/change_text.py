"""Changes of what text says: nested values, JSON, YAML, tables of text, XML."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import yaml


def odd_value(rng: Random) -> Any:
    """Return a value that stands where another was meant."""
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    return rng.choice(
        [None, True, False, -1, 0, 1, 2, 7, 1e308, -0.5, 10**12, 10**18, 10**400, "", "x", "[/red]",
         "../../etc/passwd", "/dev/zero", "nan", "\x00", "\u202e", "\ud7ff", "a" * 70_000, [], {},
         [None], [[]], {"": 0}, ["x"] * 1000, {"a": {"b": {}}}, deep, float("nan"), float("inf"),
         "1e999", "2030-01-01", [1, 2, 3], [-1], ["__proto__"]]
    )  # fmt: skip


def change_tree(value: Any, rng: Random) -> tuple[Any, str]:
    """Change one place of nested lists and dictionaries (in place); returns value and place."""
    path: list[str] = []
    node, parent, key = value, None, None
    while isinstance(node, dict | list) and node and (parent is None or rng.random() < 0.75):
        parent = node
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
        path.append(str(key)[:40])
        node = node[key]
    name = ".".join(path)
    if parent is None:
        return odd_value(rng), "the root"
    kind = rng.randrange(6)
    if kind == 0:
        del parent[key]
        return value, f"{name} gone"
    if kind == 1 and isinstance(parent, dict):
        parent[f"{key}x"] = parent.pop(key)
        return value, f"{name} renamed"
    if kind == 2 and isinstance(parent, list):
        parent.insert(key, node)
        return value, f"{name} twice"
    if kind == 3 and isinstance(node, int | float) and not isinstance(node, bool):
        parent[key] = rng.choice([-node, node + 1, node * 10**9, float(node), str(node), [node]])
        return value, f"{name} is {str(parent[key])[:40]}"
    if kind == 4 and isinstance(node, str):
        parent[key] = rng.choice(
            [node + "x", node[:-1], node.upper(), [node], node * 500, node.encode().hex()]
        )
        return value, f"{name} is {str(parent[key])[:40]}"
    parent[key] = odd_value(rng)
    return value, f"{name} is {str(parent[key])[:40]}"


def change_json(raw: bytes, rng: Random) -> tuple[bytes, str]:
    if rng.random() < 0.1:
        return rng.choice(
            [(b'{"a":' * 100_000, "100,000 levels"), (b"9" * 5000, "5,000 digits"),
             (raw.replace(b",", b',"x":1,"x":2,', 1), "a key twice"), (b"\xff\xfe" + raw, "a mark")]
        )  # fmt: skip
    changed, what = change_tree(json.loads(raw), rng)
    return json.dumps(changed).encode("utf-8", "replace"), what


def change_yaml(raw: bytes, rng: Random) -> tuple[bytes, str]:
    if rng.random() < 0.15:
        bomb = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
            b"%c: &%c [%s]\n" % (c + 1, c + 1, b",".join([b"*%c" % c] * 9)) for c in range(97, 107)
        )
        return rng.choice(
            [(b"[" * 3000, "3,000 levels"), (b"seed: " + b"9" * 5000, "5,000 digits"),
             (bomb, "aliases of aliases"),
             (raw + b"\nx: !!python/object/apply:os.system [id]\n", "a tag"),
             (raw + raw, "all twice"), (b"? [a, b]\n: 1\n" + raw, "a key that is a list")]
        )  # fmt: skip
    changed, what = change_tree(yaml.safe_load(raw), rng)
    return yaml.safe_dump(changed).encode(), what


def change_text(raw: bytes, rng: Random) -> tuple[bytes, str]:
    """Change fields and lines of a table."""
    lines = raw.split(b"\n")
    at = rng.randrange(len(lines)) if rng.random() < 0.7 else 0
    mark = next((m for m in (b"\t", b",", b" ") if m in lines[at]), b"\t")
    fields = lines[at].split(mark)
    nth = rng.randrange(len(fields))
    kind = rng.randrange(8)
    if kind == 0:
        del fields[nth]
    elif kind == 1:
        fields.insert(nth, fields[nth])
    elif kind in (2, 3, 4):
        fields[nth] = rng.choice(
            [b"", b"nan", b"-1", b"1e999", b"9" * 5000, b"\xff\xfe", b"\x00", b'"', b"'", b"[/red]",
             b"a" * 200_000, b"=1+1", b"../..", b"\xe2\x80\xae", b"1,5", b"None", b"0x10"]
        )  # fmt: skip
    elif kind == 5:
        del lines[at]
        return b"\n".join(lines), f"line {at} gone"
    elif kind == 6:
        return raw.replace(b"\n", rng.choice([b"\r", b"\r\n", b"\n\n", b""])), "line ends"
    else:
        mark = rng.choice([b"\t", b",", b";", b" ", b"|"])
    lines[at] = mark.join(fields)
    return b"\n".join(lines), f"line {at}, field {nth}"


def change_xml(raw: bytes, rng: Random) -> tuple[bytes, str]:
    kind = rng.randrange(4)
    if kind == 0:
        dtd = (
            b'<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa">'
            + b"".join(b'<!ENTITY %c "%s">' % (c + 1, b"&%c;" % c * 10) for c in range(97, 107))
            + b"]>"
        )
        return raw.replace(b"?>", b"?>" + dtd, 1).replace(b">", b">&k;", 6), "entities of entities"
    if kind == 1:
        dtd = b'<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
        return raw.replace(b"?>", b"?>" + dtd, 1).replace(b'="', b'="&a;', 9), "a file as entity"
    if kind == 2:
        return raw.replace(b"?>", b"?>" + b"<x>" * 20_000, 1), "20,000 levels"
    return change_text(raw, rng)
