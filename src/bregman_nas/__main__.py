"""The command `bregman-nas`, also as `python -m bregman_nas`."""

import sys


def main() -> int:
    """Run the command line; without the packages of the study, say how to install them."""
    try:
        from bregman_nas.cli import main as command_line
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("bregman_nas"):
            raise
        print(
            f"bregman-nas: the commands need the packages of the study, and {error.name} is not "
            'installed: in a clone of the repository, run `pip install ".[study]"`',
            file=sys.stderr,
        )
        return 1
    return command_line()


if __name__ == "__main__":
    sys.exit(main())
