"""From the text of ``--data`` to a data root: a folder, the hub, webdataset shards, or the bundled scenes."""

from __future__ import annotations

from pathlib import Path

from vlbench.data.source import DataRoot


def open_root(data: Path | str | None) -> DataRoot:
    """Return the data root that ``data`` names; None means the bundled scenes.

    Raises a ``VlbenchError`` where there is no such folder, or the name of a repository or address is wrong.
    """
    if data is None:
        from vlbench.data.scenes.cache import ensure

        return DataRoot(ensure())
    text = str(data)
    if text == "hub" or text.startswith("hf:"):
        from vlbench.data.hub import HubRoot

        return HubRoot(Path(text))
    if text.startswith("wds:"):
        from vlbench.data.webdataset import open_webdataset

        return open_webdataset(text.removeprefix("wds:"))
    return DataRoot(Path(text))
