"""Options that several verbs have, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Models = Annotated[str, typer.Option(help="Model names, adapter:checkpoint or folders; several by commas.")]
Data = Annotated[
    str | None,
    typer.Option(
        help="Folder with the datasets, hub, hf:org/name[@revision], wds:FOLDER-or-URL, or scenes. "
        "Default: $VLBENCH_DATA, else scenes."
    ),
]
Plugin = Annotated[list[str] | None, typer.Option(metavar="FILE", help="A plugin file or module.")]
Bootstrap = Annotated[int, typer.Option(metavar="N", help="Draws behind the 95 % intervals; 0: none.")]
Results = Annotated[Path, typer.Option("--output", help="Folder of results.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the results as JSON, and nothing else.")]
Attention = Annotated[
    str | None, typer.Option(metavar="eager|sdpa|flash_attention_2", help="Attention, where the library offers it.")
]
Compiled = Annotated[bool, typer.Option("--compile", help="Compile the model with torch.")]
DeviceMap = Annotated[
    str | None, typer.Option(metavar="auto|DEVICE", help="Spread a model over devices, where the library can.")
]
