"""What needs no Locust: importing it would make every thread of the tests a greenlet."""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Any

import pytest

from generator.problems import ProblemsError
from loadtest.locust_driver import options
from loadtest.locust_driver.precise import bucket, rounded
from loadtest.run.prepare import wanted_of


@pytest.mark.parametrize(("ms", "shown"), [
    (0.0, 0.0), (-1.0, 0.0), (0.0004, 0.0), (0.1234, 0.123), (1.2345, 1.23), (9.996, 10.0), (12.345, 12.3), (123.4, 123),
    (1234, 1230), (98_765, 98_800),
])  # fmt: skip
def test_buckets_have_three_digits(ms: float, shown: float) -> None:
    assert bucket(ms) == shown


def test_a_bucket_is_never_far() -> None:
    for step in range(1, 4000):
        ms = 0.1 * 1.003**step
        assert abs(bucket(ms) / ms - 1) <= 0.0051
    assert len({bucket(10 ** (step / 5000)) for step in range(5000)}) <= 901


def test_the_page_gets_microseconds() -> None:
    assert (rounded(1.23456), rounded(None), rounded(20.0)) == (1.235, 0.0, 20.0)


class Parser(argparse.ArgumentParser):
    """As Locust's takes what no other does."""

    def add_argument(self, *names: Any, **more: Any) -> Any:
        """Without what is Locust's own."""
        assert more.pop("include_in_web_ui") is False
        assert more.pop("env_var").startswith("TRITONKIT_LOAD_")
        return super().add_argument(*names, **more)


def parsed(*words: str) -> dict[str, Any]:
    """What the options of a command line say."""
    parser = Parser(add_help=False)
    options.add_to(parser)
    return options.read(parser.parse_args(list(words)))


def test_words_say_what_they_were_made_of() -> None:
    words = (
        "--spec", "a.yaml", "--spec", "b.yaml", "--rate", "50", "--protocol", "grpc", "--batch", "1,4", "--streaming",
        "--allow-remote", "there", "--url", "there:80", "--mix", "a=1,b=2", "--seed", "7",
    )  # fmt: skip
    told = parsed(*words)
    assert parsed(*options.arguments(told)) == told
    wanted = wanted_of(told)
    assert [str(spec) for spec in wanted.specs] == ["a.yaml", "b.yaml"]
    assert (wanted.rate_rps, wanted.mix, wanted.given["sizes"], wanted.given["streaming"]) == (
        50,
        "a=1,b=2",
        (1, 4),
        True,
    )
    assert wanted.where.allowed == ("there",)


def test_without_an_address_it_is_where_serve_listens() -> None:
    assert wanted_of(parsed("--spec", "a.yaml")).where.url == "127.0.0.1:8000"


def test_they_do_not_import_locust() -> None:
    program = "import sys, loadtest.locust_driver.options, loadtest.locust_driver.precise; sys.exit('locust' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(("words", "said"), [
    (("--rate", "much"), "--rate: `much` is no number"),
    (("--rate", "nan"), "--rate: nan is no number that can be kept to"),
    (("--duration", "inf"), "--duration: inf is no number"),
    (("--senders", "1.5"), "--senders: `1.5` is no whole number"),
    (("--senders", "0"), "--senders: 0 cannot be; give 1 to 64"),
    (("--connections", "-1"), "--connections: -1 cannot be; give 1 to 16,384"),
    (("--p99-ms", "0"), "--p99-ms: 0 cannot be; give 0.001 to 3,600,000"),
    (("--p99-ms", "1e12"), "--p99-ms: 1,000,000,000,000 cannot be"),
    (("--deadline-ms", "-3"), "--deadline-ms: -3 cannot be"),
    (("--seed", "-1"), "--seed: -1 cannot be"),
    (("--priority", "-1"), "--priority: -1 cannot be"),
    (("--server-timeout-us", "-1"), "--server-timeout-us: -1 cannot be"),
    (("--cancel", "2"), "--cancel: 2 cannot be; give 0 to 1"),
    (("--lag-bound-ms", "0"), "--lag-bound-ms: 0 cannot be"),
    (("--protocol", "carrier"), "--protocol: there is no `carrier`; give http or grpc"),
    (("--client", "mine"), "--client: there is no `mine`; give raw or tritonclient"),
])  # fmt: skip
def test_what_cannot_be_is_one_sentence(words: tuple[str, ...], said: str) -> None:
    """Locust's parser knows no ranges, and tells of a word that is no number in the usage of all of its options."""
    with pytest.raises(ProblemsError) as raised:
        wanted_of(parsed("--spec", "a.yaml", *words))
    [problem] = raised.value.problems
    assert problem.code == "TK878"
    assert f"{problem.place.file}: {problem.message}; {problem.hint}".startswith(said)


def test_what_a_thread_raises_is_raised_where_it_is_waited_for_and_printed_nowhere() -> None:
    program = (
        "from loadtest.locust_driver.apart import apart\n"
        "def wrong():\n    raise ValueError('a user did it')\n"
        "assert apart(lambda: 7) == 7\n"
        "try:\n    apart(wrong)\nexcept ValueError as error:\n    print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("a user did it\n", "")
