"""What a record keeps of a finished network besides its results."""

import hashlib
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from typing_extensions import TypedDict  # pydantic needs this one below 3.12

if TYPE_CHECKING:  # the report, which unpacks alone, does not wait for torch
    from torch import Tensor, nn


class Group(TypedDict):
    """Which groups of a weight are active.

    `shape` of the groups, [rows] or [out, in], and `active`, one bit a group in the order of
    memory, the first the highest of its byte, in hexadecimal.
    """

    shape: list[int]
    active: str


def active(weight: "Tensor") -> "Tensor":
    """Boolean, which rows [out] of a matrix, or kernels [out, in] of a convolution, are not 0."""
    inside = min(weight.ndim - 1, 2)
    return (weight != 0).flatten(inside).any(inside)


def active_groups(network: "nn.Module") -> dict[str, Group]:
    """Which rows of each weight matrix, and kernels of each convolution, are not zero, by name."""
    groups: dict[str, Group] = {}
    for name, weight in network.named_parameters():
        if name.endswith("weight") and weight.ndim >= 2:
            bits = np.packbits(active(weight).cpu().numpy()).tobytes().hex()
            groups[name] = {"shape": list(active(weight).shape), "active": bits}
    return groups


def unpack(group: Mapping[str, Any]) -> NDArray[np.bool_]:
    """The boolean array that `active_groups` packed."""
    bits = np.frombuffer(bytes.fromhex(group["active"]), dtype=np.uint8)
    count = int(np.prod(group["shape"]))
    return np.unpackbits(bits, count=count).astype(bool).reshape(group["shape"])


def png(picture: "Tensor") -> bytes:
    """Grey values, uint8 [height, width], as a PNG."""
    file = io.BytesIO()
    Image.fromarray(picture.numpy()).save(file, format="png", optimize=True)
    return file.getvalue()


def weights_digest(weights: Mapping[str, "Tensor"]) -> str:
    """SHA-256 of a network's parameters and buffers: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name, x in sorted(weights.items()):
        digest.update(f"{name} {x.dtype} {tuple(x.shape)}\n".encode())
        digest.update(x.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
