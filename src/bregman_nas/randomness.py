"""Random numbers: one seed, and from it an independent stream for each purpose."""

import hashlib

import torch


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A generator on the CPU that depends on the seed and on what the numbers are for.

    Streams are told apart by their purpose, such as `"order", 17` for the order of the images in
    epoch 17, and not by the order in which they are used, so that one epoch can be repeated without
    the ones before it, and every device gets the same numbers.
    """
    name = "/".join(str(part) for part in (seed, *purpose))
    digest = hashlib.sha256(name.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
