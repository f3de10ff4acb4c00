"""What the article says when something that it needs is not there."""

import json
from pathlib import Path
from typing import Any


class PaperError(Exception):
    """A number, table or figure of the article is missing, in words for the user."""


def read_json(path: Path, made_by: str) -> Any:
    """The content of a generated file.

    Args:
        path: of the file.
        made_by: the command that makes it.

    Raises:
        PaperError: if it is not there, or no JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise PaperError(f"{path} is missing; `{made_by}` makes it") from error
    except ValueError as error:
        raise PaperError(f"{path} is not JSON ({error}); `{made_by}` makes it anew") from error


def entry(content: Any, where: Path, made_by: str, *keys: str | int) -> Any:
    """An entry of such a file.

    Args:
        content: of the file.
        where: its path.
        made_by: the command that makes it.
        keys: the way to the entry, from outside to inside.

    Raises:
        PaperError: if it is not there.
    """
    found = content
    for depth, key in enumerate(keys, start=1):
        try:
            found = found[key]
        except (KeyError, IndexError, TypeError) as error:
            way = ".".join(map(str, keys[:depth]))
            raise PaperError(f"{where} has no {way}; `{made_by}` makes it anew") from error
    return found
