"""Reading IDX files, the format in which MNIST and Fashion-MNIST are published."""

import math
import struct

import torch


def parse(content: bytes, dimensions: int) -> torch.Tensor:
    """The uint8 array that an IDX file holds.

    The format: the bytes 0, 0, 8 (unsigned bytes) and the number of dimensions; each dimension's
    size, 4 bytes, most significant first; the items. A `ValueError` if it is something else.
    """
    start = 4 + 4 * dimensions
    magic = bytes((0, 0, 8, dimensions))
    if len(content) <= start or not content.startswith(magic):
        raise ValueError(f"not a {dimensions}-dimensional IDX file: it starts {content[:4]!r}")
    shape = struct.unpack_from(f">{dimensions}I", content, offset=4)
    if len(content) != start + math.prod(shape):
        raise ValueError(f"{len(content) - start} bytes of items, but a header of shape {shape}")
    # A bytearray, because a tensor must not share the memory of immutable bytes.
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=start).reshape(shape)
