"""``python -m fedmtl``, the same as ``fedmtl``: the current folder is not searched for modules."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path and not __file__.startswith(f"{sys.path[0]}/fedmtl/"):
        del sys.path[0]  # the current folder, where Python puts it: a file random.py there would run otherwise

    from fedmtl.cli import main

    main()
