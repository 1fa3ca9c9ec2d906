"""Something that runs in a process of its own and answers what it is asked through a pipe."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Protocol

_PATIENCE = 60.0  # seconds to start, and to end


class Answers(Protocol):
    """What the process makes: it is called with a question, and closed at the end."""

    def __call__(self, question: str, *values: Any) -> Any: ...

    def close(self) -> None: ...


class Apart:
    """A new process that calls ``make(*values)`` and lets what comes of it answer questions.

    What is made there counts neither in the memory nor in the processor time of this process. An
    error there is raised here, by `ask`. It ends with this process at the latest.
    """

    def __init__(self, make: Callable[..., Answers], *values: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, values), daemon=True)
        self._process.start()
        theirs.close()  # so that its end is seen here
        self._answer()

    def ask(self, question: str, *values: Any) -> Any:
        """The answer to ``question``."""
        self._pipe.send((question, values))
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(_PATIENCE)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Apart:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self) -> Any:
        try:
            answer, failure = self._pipe.recv()
        except EOFError:
            self._process.join(_PATIENCE)
            code = self._process.exitcode
            raise RuntimeError(f"the process apart has ended, with code {code}") from None
        if failure:
            raise RuntimeError(f"in the process apart:\n{failure}")
        return answer


def _serve(pipe: Connection, make: Callable[..., Answers], values: tuple[Any, ...]) -> None:
    try:
        answers = make(*values)
    except Exception:
        return pipe.send((None, traceback.format_exc()))
    try:
        pipe.send((None, ""))
        while True:
            question, given = pipe.recv()
            try:
                answer = answers(question, *given), ""
            except Exception:
                answer = None, traceback.format_exc()
            pipe.send(answer)
    except (EOFError, OSError, KeyboardInterrupt):
        pass  # the other side has ended
    finally:
        answers.close()
