"""``saam``: one command for each task, and errors in one line."""

import dataclasses
import os
import signal
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from saam._core.errors import printable
from saam._version import __version__
from saam.training import Recipe

__all__ = ["app", "main"]

app = App(
    name="saam",
    help="Channel attention with learned, score-based pooling: compare it on your images, train with it, inspect it.",
    help_epilogue="""\
Where to begin:

`saam compare` compares attentions on example images, in about five minutes, and writes a report.

`saam compare --data FOLDER,size=64 --model resnet20` does so on your own images, in one subfolder for each class.

`saam compare --data FOLDER,size=64 --dry-run` says beforehand how long that takes.

`saam explain` shows where the trained network looks.
""",
    version=__version__,
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=()),
)
for _name, _help in {
    "compare": "Compare attentions: train each with the same seeds, and report which help, by how much, at what cost.",
    "study": "Run a grid of comparisons: models x data sets x arms x seeds.",
    "train": "Train one network, from scratch or fine-tuned, and save it.",
    "report": "Write the report of a comparison again, from its records.",
    "explain": "Show what a trained network looks at, and measure how far the maps can be trusted.",
    "export": "Write a trained network for other runtimes: ONNX, torch.export, safetensors, int8.",
    "page": "Write a page for the browser that shows what a trained network sees.",
    "profile": "Measure what attentions cost: parameters, operations, time, memory.",
}.items():
    app.command(f"saam.cli.{_name}:command", name=_name, help=_help, help_epilogue="")
app.command(
    "saam.cli.listing:command",
    name="list",
    help="List attentions, squeezes, data sets, models or recipes.",
    help_epilogue="",
)
app.register_install_completion_command(
    help="Install completion of commands and options for your shell.", help_epilogue=""
)

_LONG = ("compare", "study", "train")  # commands that can be resumed
_KEPT = "; run the same command again to resume after the last finished epoch"
_FIELDS = {"lr": "learning_rate", "wd": "weight_decay", "batch": "batch_size", "optim": "optimizer"}
_USER_ERRORS = (ValueError, TypeError, OSError, RuntimeError, FloatingPointError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 for a failure, 2 for an invalid command, 130 if stopped.

    With ``SAAM_TRACEBACK=1`` in the environment, a failure prints its traceback.
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # for the user's own classes and functions, as with python -m
    if arguments is None and "LOCAL_RANK" not in os.environ:  # processes of torchrun must die at once
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # what a cluster sends stops as Ctrl-C does
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return app(words, exit_on_error=False, print_error=False, result_action="return_value") or 0
    except CycloptsError as error:
        hint = _hint(str(error))
        return _fail(f"{str(error).partition(' Did you mean')[0]} {hint}" if hint else str(error), 2)
    except KeyboardInterrupt:
        return _fail(f"stopped{_KEPT if words and words[0] in _LONG else ''}", 130)
    except ModuleNotFoundError as error:
        advice = "" if "pip install" in str(error) else "; install the optional packages: pip install 'saam[all]'"
        return _fail(f"{error}{advice}", 1)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except _USER_ERRORS as error:
        if os.environ.get("SAAM_TRACEBACK"):
            raise
        return _fail(str(error) or type(error).__name__, 1)


def _hint(message: str) -> str:
    """Return where to give an option that the command does not have, or an empty string."""
    name = message.partition("Unknown option: --")[2].partition(".")[0].partition("=")[0]
    if name in ("arm", "arms", "attach", "attention", "attentions"):
        return "saam compare takes attentions as --arms none se saam, saam train takes one as --attention saam."
    field = _FIELDS.get(name, name.replace("-", "_"))
    if name and field in {entry.name for entry in dataclasses.fields(Recipe)}:
        return f"It is part of the recipe, as in --recipe demo,{field}=..."
    return ""


def _fail(message: str, code: int) -> int:
    print(f"saam: {printable(' '.join(message.split()))}", file=sys.stderr)
    return code
