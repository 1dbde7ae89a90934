"""Version of the files in a run's folder, and the error for files of another version."""

from pathlib import Path

FORMAT = 2
"""Version of tables, lines of JSON, summary, checkpoint, manifest and sizes.

1: ``packet_bytes``, the purpose ``gather`` and ``digests.trunk``; 2: ``packet_bytes``, ``raw_data`` and
``digests.server_state``.
"""


class OtherFormat(ValueError):
    """A file of another version than this release reads."""


RUN_AGAIN = "read it with the release that wrote it, or run the experiment again in another folder (--out)"


def check_format(path: str | Path, found: object, way_out: str = RUN_AGAIN) -> None:
    """Refuse a file of another version.

    Args:
        path: of the file.
        found: its version.
        way_out: for the message.

    Raises:
        OtherFormat: it names the file, both versions and the way out.
    """
    if found != FORMAT or isinstance(found, bool):
        raise OtherFormat(
            f"{path} has format {str(found)[:20]}, and this release of fedmtl reads format {FORMAT}: {way_out}."
        )
