"""The coordinator of runs through Locust: one whenever Locust starts one, from its command line or its page."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import gevent

from generator.problems import ProblemsError, UserError
from loadtest.locust_driver.messages import DONE, FAILED, READY, SAMPLES, TIME
from loadtest.locust_driver.round import STOP_S, Round

if TYPE_CHECKING:
    from loadtest.results.run import Run

_log = logging.getLogger("tritonkit")


class Coordinator:
    """Runs a load test whenever Locust starts one. `run` is the last one that was judged."""

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._round = self._measuring = Round(environment)  # the last that Locust started, and the one at work
        self._running: gevent.Greenlet | None = None
        self._quits = False
        self.run: Run | None = None
        for name in (READY, TIME, SAMPLES, DONE, FAILED):
            environment.runner.register_message(name, self._told)
        environment.events.test_start.add_listener(self._begin)
        environment.events.test_stop.add_listener(self._end)
        environment.events.quitting.add_listener(self._quit)
        environment.events.quit.add_listener(self._summary)

    def _begin(self, **_: Any) -> None:
        """A run that is still being judged ends before the next one begins."""
        before, last = self._running, self._round
        self._round = Round(self._environment)
        self._running = gevent.spawn(self._run, self._round, last, before)

    def _end(self, **_: Any) -> None:
        """The run was stopped on the page, or Locust ends: what the workers have is collected."""
        self._round.stop()

    def _quit(self, **_: Any) -> None:
        self._quits = True
        self._end()
        if self._running is not None:
            self._running.join(STOP_S)

    def _summary(self, **_: Any) -> None:
        """After Locust's own tables."""
        if self.run is not None:
            word, why = self.run.judgement.verdict.upper(), self.run.judgement.why
            _log.info("%s  %s: %s", word, self.run.pipeline, why)
            _log.info("%s has everything", self._round.folder)

    def _told(self, environment: Any, msg: Any) -> None:  # noqa: ARG002  (Locust's)
        self._measuring.told(msg.type, msg.data)

    def _run(self, mine: Round, last: Round, before: gevent.Greenlet | None) -> None:
        if before is not None:
            last.stop()
            before.join()
        self._measuring = mine
        status = 1
        try:
            self.run = mine.measured()
            status = 0 if self.run.judgement.verdict == "pass" and not self.run.stopped else 1
        except ProblemsError as error:
            for problem in error.problems:
                hint = f" ({problem.hint})" if problem.hint else ""
                _log.error("%s %s: %s%s", problem.code, problem.place, problem.message, hint)
        except (UserError, OSError) as error:
            _log.error("%s", error)
        except Exception:  # noqa: BLE001 — ours; Locust would go on for ever, and say 0
            _log.exception("a mistake in tritonkit, not in what you asked for")
            status = 2
        self._environment.process_exit_code = status
        if self._quits or mine is not self._round:  # Locust ends already, or has begun the next one
            return
        runner = self._environment.runner
        gevent.spawn(runner.quit if self._environment.parsed_options.headless else runner.stop)
