"""The command line: parse, call one function of the pipeline, print.

Nothing heavy is imported before a command runs, so that help and errors come at once.
"""

import os
import sys
from collections.abc import Sequence

from formtune.cli.flags import STDIN

__all__ = ["main", "run"]


def main() -> None:
    """Run the command that was typed and leave with its exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command and give its exit code: 0 done, 2 something for the user to put right, told on standard error.

    Work that a signal asked to stop ends with 128 and the signal's number: 130 after Ctrl-C, 143 after SIGTERM.
    A bug of ours is raised, so that Python tells where it was and ends with 1.
    """
    from cyclopts import CycloptsError

    from formtune.cli import problems
    from formtune.cli.commands import make_app
    from formtune.errors import FormtuneError, Stopped

    # The parser takes a bare hyphen for an option.
    arguments = [STDIN if argument == "-" else argument for argument in arguments]
    try:
        code: int | None = make_app()(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        told: FormtuneError = problems.of_typing(error)
    except ModuleNotFoundError as error:
        told = problems.of_import(error)
    except BrokenPipeError:
        # Whoever read our output has had enough, as in `formtune formats | head`. What is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        told = problems.of_system(error)
    except FormtuneError as error:
        told = error
    except KeyboardInterrupt:
        return 130
    else:
        return code or 0
    sys.stderr.write(f"{told}\n")
    return 128 + told.signal if isinstance(told, Stopped) else 2
