"""Shapes of images, and of signals, whose sides a model halves."""

HALVED = "give fewer channels entries"


def image_sides(name: str, input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return (H, W) of images [C, H, W].

    Args:
        name: of the model, for messages.
        input_shape: of one example.

    Raises:
        ValueError: inputs that are no images, or whose channels are last.
    """
    if len(input_shape) != 3:
        way = "MLP, or x[:, None] for grey images" if len(input_shape) == 2 else "MLP, which takes any shape"
        raise ValueError(f"{name} takes images of shape (channels, height, width), got {input_shape}; try {way}.")
    if input_shape[0] == input_shape[1] > 4 >= input_shape[2]:
        raise ValueError(
            f"{name} takes images of shape (channels, height, width), got {input_shape}, where channels seem to be "
            "last; use x.transpose(0, 3, 1, 2)."
        )
    return input_shape[1:]


def halved(name: str, side: int, times: int, axis: str, way: str = HALVED) -> int:
    """Return a side that is halved ``times`` times, rounded down each time.

    Args:
        name: of the model, for messages.
        side: its length.
        times: of the halving.
        axis: its name.
        way: the way out.

    Raises:
        ValueError: nothing is left.
    """
    if side >> times < 1:
        raise ValueError(f"{name} halves the {axis} {times} times, which leaves nothing of {side}; {way}.")
    return side >> times
