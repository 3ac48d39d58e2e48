"""The network that a finished run left in the folder of its comparison."""

from pathlib import Path

from torch import nn

from saam._core.errors import one_line
from saam._core.files import read_bytes
from saam.comparison.network import build_model, without_fetching
from saam.comparison.plan_file import read_plan
from saam.comparison.store import record_file, weights_file
from saam.comparison.task import TaskPlan
from saam.models import Preprocessing
from saam.models.from_file import room_for

__all__ = ["load_model"]

# What libraries raise for sizes and options that do not fit together, beside ValueError.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


def load_model(out: str | Path, arm: str, seed: int) -> nn.Module:
    """Return the network that a finished run left, on the CPU and in evaluation mode.

    The folder may come from a stranger: :mod:`saam.models.from_file` says what is built from it.

    Raises:
        FileNotFoundError: The folder holds no comparison, no such run has finished in it, or its network was removed.
        ValueError: A file is damaged, or asks for what is not taken from a file; the error names it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    out = Path(out)
    plan, content = read_plan(out)
    if isinstance(plan, TaskPlan):
        raise ValueError(
            f"{out} holds a comparison of the function {plan.task}, which alone can build its networks: build one, and "
            "load the weights from the folder's weights/ with safetensors"
        )
    run_id = dict(zip(plan.schedule(), content["runs"], strict=True)).get((arm, seed), "")
    file, record = weights_file(out, run_id), record_file(out, run_id)
    again = f"saam compare --plan {out / 'plan.json'} --out {out}"
    if not file.exists():
        gone = f"{file} is gone; to train it again delete {record}, then"
        todo = gone if record.is_file() else "that run has not finished;"
        raise FileNotFoundError(f"{out} has no network of arm {arm!r} with seed {seed}: {todo} {again}")
    damaged = f"{file} does not hold the weights of {arm!r} ({{}}); to train it again delete {record}, then {again}"
    try:
        weights = from_bytes(read_bytes(file))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(damaged.format(one_line(error))) from error
    try:
        with room_for(weights):
            model = build_model(without_fetching(plan), arm, seed=seed, classes=content["classes"])
    except _DAMAGE as error:
        raise ValueError(f"{out / 'plan.json'} describes no network that can be built: {error}") from error
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(damaged.format(one_line(error))) from error
    if "preprocessing" in content:
        model.preprocessing = Preprocessing.from_json(content["preprocessing"])  # type: ignore[assignment]
    return model.eval()
