"""Options that several commands have."""

# Arguments are described in the commands' docstrings: Typer 0.20, which Flower 1.41 asks for, loses their help with
# Click 8.5, and prints a backslash before every "[required]" and "[default: …]" when rich formats nothing.

import typer

SETTINGS = typer.Option(
    "--set",
    metavar="KEY=VALUE",
    help="Change a key of the preset; may be given often. A dot goes into a component: --set rounds=5 "
    "--set algorithm=FedRep --set algorithm.lr=0.05 --set engine.chunk=8",
)


ENGINE = typer.Option(
    "--engine",
    metavar="NAME",
    help='How a node trains its clients: Loop, or "VMap(chunk=8)" (see: fedmtl list engines); short for --set engine=…',
)


RUNTIME = typer.Option(
    "--runtime",
    metavar="NAME",
    help='The place of the nodes: InProcess, or "Ray(workers=4)" (see: fedmtl list runtimes); short for --set '
    "runtime=…",
)


UP_CODEC = typer.Option(
    "--up-codec",
    metavar="NAME",
    help="Codec of uploads: \"TopK(0.05)\", or a chain: '[ClipNorm(1.0), GaussianNoise(0.8), Int8()]' (see: fedmtl "
    "list codecs, list transforms); short for --set up_codec=…",
)


DOWN_CODEC = typer.Option(
    "--down-codec", metavar="NAME", help="Codec of broadcasts, such as FP16; short for --set down_codec=…"
)


def with_places(
    settings: list[str] | None,
    engine: str | None,
    runtime: str | None,
    up_codec: str | None = None,
    down_codec: str | None = None,
) -> list[str]:
    """Settings, after those that ``--engine``, ``--runtime``, ``--up-codec`` and ``--down-codec`` are short for."""
    places = {"engine": engine, "runtime": runtime, "up_codec": up_codec, "down_codec": down_codec}
    return [*(f"{key}={value}" for key, value in places.items() if value is not None), *(settings or [])]


DATA = typer.Option(
    "--data",
    metavar="FILE",
    help="A .csv or .parquet file in place of the preset's data: with --client, and --task for each task.",
)


CLIENT = typer.Option("--client", metavar="COLUMN", help="The column of --data that names the client of each row.")


TASK = typer.Option(
    "--task",
    metavar="COLUMN",
    help='A column of labels in --data; may be given often. Its kind is inferred, or given: "ltv=Regression" (see: '
    "fedmtl list tasks).",
)


FEATURES = typer.Option(
    "--features", metavar="A,B", help="Columns of --data that are inputs; default: all that have no other role."
)


TEXT = typer.Option(
    "--text",
    metavar="COLUMN",
    help="A column of texts in --data, in place of features. More of a table: --set data.impute=mean, data.groups=…, "
    "data.split=… (see: fedmtl list data).",
)


CALLBACK = typer.Option(
    "--callback",
    metavar="NAME",
    help="A callback that gets every row, such as TensorBoard, MLflow or \"CSV(path='x.csv')\" (see: fedmtl list "
    "callbacks); may be given often.",
)


STATE = typer.Option(help="Where private states are, if not in the run folder: a device's state-dir.")


ALLOW = typer.Option(
    "--allow",
    metavar="MODULE",
    help="A module, or a .py file, that components may come from; may be given often. A preset may name modules that "
    "lie beside it; without this flag, nothing else is imported.",
)
