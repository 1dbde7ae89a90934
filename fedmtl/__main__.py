"""The command ``fedmtl``, and ``python -m fedmtl``: the current folder is not searched for modules."""

import sys


def main() -> None:
    """Handle signals before anything large is imported."""
    from fedmtl.core import stopping
    from fedmtl.core.gc_paused import skip_last_collection

    try:
        stopping.install()
        skip_last_collection()
        from fedmtl.cli import main as run_command

        run_command()
    except stopping.Stopped:
        stopping.leave()


if __name__ == "__main__":
    if not sys.flags.safe_path and not __file__.startswith(f"{sys.path[0]}/fedmtl/"):
        del sys.path[0]  # the current folder, where Python puts it: a file random.py there would run otherwise

    main()
