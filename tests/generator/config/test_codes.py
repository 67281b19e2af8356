"""The codes of this stage, and that naming them costs nothing."""

from __future__ import annotations

import subprocess
import sys

from generator.config import codes


def test_every_code_has_a_meaning_and_a_number_of_its_own():
    constants = [value for name, value in vars(codes).items() if name.isupper() and isinstance(value, str)]
    assert sorted(constants) == sorted(codes.CODES)
    assert all(code.startswith("TK3") and text for code, text in codes.CODES.items())


def test_the_client_library_is_loaded_only_where_it_is_needed():
    script = "import sys, generator.config, generator.config.codes; print('tritonclient' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
