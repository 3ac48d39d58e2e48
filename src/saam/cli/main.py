"""``saam``: one command for each thing that one does with the library, and errors in one line."""

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from saam._core.errors import printable
from saam._version import __version__

__all__ = ["app", "main"]

app = App(
    name="saam",
    help="Channel attention with learned, score-based pooling: compare it on your images, train with it, look at it.",
    version=__version__,
    suppress_keyboard_interrupt=False,
)
for _name, _help in {
    "compare": "Compare attentions: train each with the same seeds, and say what helps, by how much, at what cost.",
    "study": "Run a grid of comparisons: models x data sets x arms x seeds.",
    "train": "Train one network, from scratch or fine-tuned, and save it.",
    "report": "Write the report of a comparison anew, from its records.",
    "explain": "Show where a trained network's score maps look.",
    "profile": "Measure what attentions cost: parameters, operations, time, memory.",
}.items():
    app.command(f"saam.cli.{_name}:command", name=_name, help=_help)
app.command("saam.cli.listing:command", name="list", help="List attentions, squeezes, data sets, models or recipes.")

_USER_ERRORS = (ValueError, TypeError, OSError, RuntimeError, FloatingPointError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 for what failed, 2 for words that were not understood.

    With ``SAAM_TRACEBACK=1`` in the environment a failure shows its whole traceback.
    """
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # for classes and functions of the user's own, as python -m has it
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _fail("stopped; what was finished is kept, the same command goes on from there", 130)
    except ModuleNotFoundError as error:
        advice = "" if "pip install" in str(error) else "; install what saam has a use for: pip install 'saam[all]'"
        return _fail(f"{error}{advice}", 1)
    except _USER_ERRORS as error:
        if os.environ.get("SAAM_TRACEBACK"):
            raise
        return _fail(str(error) or type(error).__name__, 1)
    return 0


def _fail(message: str, code: int) -> int:
    print(f"saam: {printable(' '.join(message.split()))}", file=sys.stderr)
    return code
