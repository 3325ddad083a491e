"""What ``--device`` may name."""

from __future__ import annotations

import pytest

from vlbench.errors import UsageError
from vlbench.runner.devices import pick_device, pick_devices


def test_names_of_devices_stay_as_they_are() -> None:
    assert pick_devices("cuda:1, cuda:0") == ("cuda:1", "cuda:0")
    assert pick_device("auto") in ("cpu", "cuda")


@pytest.mark.parametrize(
    ("device", "workers", "message"),
    [
        ("gpu", None, "'gpu' is no device; it takes auto, cpu, cuda"),
        ("cpu,", None, "has an empty name"),
        ("cpu,cuda", None, "mixes kinds"),
        ("cpu,cpu", 3, "--num-workers 3 does not fit the 2 devices"),
    ],
)
def test_what_is_no_device_is_one_clear_line(device: str, workers: int | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        pick_devices(device, workers)
