"""Folders of a segmentation that hold something of each object: meshes, skeletons; and whose they are.

The segmentation's ``info`` names a folder while what lies there is complete. A file ``magneton.json``
in it says that it is ours: it comes before all else there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal
from zlib import crc32

from magneton_tasks.base.files import FileInfo
from magneton_tasks.errors import ConfigError
from magneton_tasks.formats.objects import Objects
from magneton_tasks.formats.precomputed.owner import OWNER_FILE

#: Each is called as the member of the segmentation's ``info`` that names it.
Folder = Literal["mesh", "skeletons"]


def is_ours(objects: Objects, folder: Folder) -> bool:
    """Whether a folder of the segmentation bears our mark."""
    return objects.get(f"{folder}/{OWNER_FILE}") is not None


def strangers(objects: Objects, folder: Folder) -> list[str]:
    """Some files of a folder that isn't ours, sorted; none where it is, or isn't there."""
    if is_ours(objects, folder):
        return []
    return sorted(objects.sizes(folder))[:3]


def refuse_strangers(objects: Objects, folder: Folder, section: str) -> None:
    """Refuse to write into a folder that somebody else has filled.

    Raises
    ------
    ConfigError
    """
    if found := strangers(objects, folder):
        raise ConfigError(
            f"{objects.location.name_of(folder)} holds files that Magneton didn't write, such as {', '.join(found)}",
            f"move that folder elsewhere, or leave the section {section} of the config null",
        )


def begin(objects: Objects, folder: Folder, mark: Mapping[str, Any]) -> None:
    """Take a folder, and let the segmentation's ``info`` name it no more: what lies there will change."""
    _have(objects, f"{folder}/{OWNER_FILE}", mark)
    objects.sync_directory(folder)
    name_in_info(objects, folder, named=False)


def finish(
    objects: Objects, folder: Folder, mark: Mapping[str, Any], info: Mapping[str, Any]
) -> dict[str, FileInfo]:
    """Write a folder's ``info``, and let the segmentation's name the folder: it is complete.

    Returns
    -------
    dict
        What lies there beside shards, by path below the output.
    """
    written = {
        name: _have(objects, name, content)
        for name, content in ((f"{folder}/{OWNER_FILE}", mark), (f"{folder}/info", info))
    }
    objects.sync_directory(folder)
    name_in_info(objects, folder, named=True)
    return written


def _have(objects: Objects, name: str, content: Mapping[str, Any]) -> FileInfo:
    """Write a file of JSON, unless it is so already."""
    text = (json.dumps(dict(content), indent=2) + "\n").encode()
    if objects.get(name) != text:
        objects.put(name, text)
    return FileInfo(len(text), crc32(text))


def name_in_info(objects: Objects, folder: Folder, *, named: bool) -> None:
    """Name a folder in the segmentation's ``info``, or don't; what says so already stays."""
    info = objects.get_json("info")
    if info is None or (folder in info) == named:
        return
    rest = {key: value for key, value in info.items() if key != folder}
    objects.put_json("info", rest | ({folder: folder} if named else {}))
