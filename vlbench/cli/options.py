"""Options that several verbs have, each declared once."""

from __future__ import annotations

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
Attention = Annotated[
    str | None, typer.Option(metavar="eager|sdpa|flash_attention_2", help="Attention, where the library offers it.")
]
Compiled = Annotated[bool, typer.Option("--compile", help="Compile the model with torch.")]
DeviceMap = Annotated[
    str | None, typer.Option(metavar="auto|DEVICE", help="Spread a model over devices, where the library can.")
]
