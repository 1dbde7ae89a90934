"""Version of the files in a run's folder, and the error for files of another version."""

from pathlib import Path

FORMAT = 2
"""Version of tables, lines of JSON, summary, checkpoint and manifest.

1: ``packet_bytes``, the purpose ``gather`` and ``digests.trunk``; 2: ``packet_bytes``, ``raw_data`` and
``digests.server_state``.
"""


class OtherFormat(ValueError):
    """A file of another version than this release reads."""


def check_format(path: str | Path, found: object) -> None:
    """Refuse a file of another version.

    Raises:
        OtherFormat: it names the file, both versions and the way out.
    """
    if found != FORMAT or isinstance(found, bool):
        raise OtherFormat(
            f"{path} has format {str(found)[:20]}, and this release of fedmtl reads format {FORMAT}: read it with the "
            "release that wrote it, or run the experiment again in another folder (--out)."
        )
