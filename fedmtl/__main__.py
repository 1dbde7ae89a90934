"""``python -m fedmtl``."""

from fedmtl.cli import main

if __name__ == "__main__":
    main()
