"""Reading IDX files, the format in which MNIST and Fashion-MNIST are published."""

import struct

import torch


def parse(content: bytes) -> torch.Tensor:
    """The uint8 array that an IDX file holds, of which the checksum is known to be right.

    The format: the bytes 0, 0, 8 (unsigned bytes) and the number of dimensions; each dimension's
    size, 4 bytes, most significant first; the items.
    """
    shape = struct.unpack_from(f">{content[3]}I", content, offset=4)
    # A bytearray, because a tensor must not share the memory of immutable bytes.
    items = torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=4 + 4 * len(shape))
    return items.reshape(shape)
