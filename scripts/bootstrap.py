"""Makes .venv and installs the pinned packages that a make target needs. Standard library only; runs on any Python 3.

    python3 scripts/bootstrap.py demo|sweep|test|bench

Does nothing when the environment is already what pyproject.toml and constraints.txt say.
"""

import hashlib
import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "installed")
EXTRAS = {"demo": "embedded,load", "sweep": "embedded,load", "test": "test", "bench": "bench"}
SUPPORTED = ((3, 11), (3, 12))
# What the tests run beside Python: programs, why, and the packages of Debian and Ubuntu that have them.
PROGRAMS = (
    (("chromium", "chromedriver"), "the tests look at reports in a real browser", "chromium chromium-driver"),
    (("promtool",), "the tests check rules and alerts with it", "prometheus"),
    (("wrk",), "the load generator is compared with it", "wrk"),
    (("g++",), "a GPU's kernel is compiled for the CPU with it, and compared", "g++"),
)


def missing(extra):
    """What this machine lacks for the target: (sentence, the command that mends it), all of it."""
    version = "{}.{}".format(*sys.version_info[:2])
    if sys.version_info[:2] not in SUPPORTED:
        yield (
            "tritonkit needs Python 3.11 or 3.12, and {} is {}.".format(sys.executable, version),
            "apt-get install python3.11 python3.11-venv   (or python3.12), then: make PYTHON=python3.11 ...",
        )
        return
    if sys.platform != "linux" or platform.machine() != "x86_64":
        yield (
            "The embedded Triton server exists for Linux on x86-64 only; this is {} on {}.".format(
                platform.system(), platform.machine()
            ),
            "use such a machine, a virtual machine or a container of it",
        )
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        yield (
            "This Python cannot make virtual environments: its `venv` module is missing.",
            "apt-get install python{}-venv".format(version),
        )
    if not libpython():
        yield (
            "libpython{}.so, this Python's shared library, is missing; the server's models need it.".format(version),
            "apt-get install libpython{}".format(version),
        )
    if extra == "test":
        for programs, why, packages in PROGRAMS:
            absent = [program for program in programs if not shutil.which(program)]
            if absent:
                yield (
                    "{} {} missing; {}.".format(" and ".join(absent), "is" if len(absent) == 1 else "are", why),
                    "apt-get install " + packages,
                )


def libpython():
    """Whether the interpreter's shared library is where the dynamic loader or the interpreter keeps it."""
    name = sysconfig.get_config_var("INSTSONAME") or ""
    if not name.endswith((".so.1.0", ".so")):
        name = "libpython{}.{}.so.1.0".format(*sys.version_info[:2])
    multiarch = sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"
    folders = [sysconfig.get_config_var("LIBDIR") or "", os.path.join(sys.base_prefix, "lib")]
    folders += [os.path.join("/usr/lib", multiarch), "/usr/lib64", "/usr/lib", "/usr/local/lib"]
    return any(os.path.exists(os.path.join(folder, name)) for folder in folders)


def wanted(extra):
    """A hash of everything that decides what has to be installed."""
    digest = hashlib.sha256("{} {}".format(sys.version, extra).encode())
    for name in ("pyproject.toml", "constraints.txt", os.path.join("python_backend", "pyproject.toml")):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def stamps():
    """The installations that this environment already holds."""
    try:
        with open(STAMP, encoding="utf-8") as file:
            return file.read().split()
    except OSError:
        return []


def same_python():
    """Whether .venv is of this Python's version."""
    return os.path.isdir(os.path.join(VENV, "lib", "python{}.{}".format(*sys.version_info[:2])))


def run(command):
    """Runs a command to its end; its status. An interrupt reaches this process alone, which ends all of it."""
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        return process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def pip(*arguments):
    """Runs pip in the environment, within the constraints; stops with its own status when it fails."""
    constraints = os.path.join(ROOT, "constraints.txt")
    command = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", constraints]
    if run(command + list(arguments)) != 0:
        sys.exit("error: pip could not install the packages (its message is above); is the package index reachable?")


def main():
    """Installs for the target named on the command line."""
    extra = EXTRAS.get(sys.argv[1] if len(sys.argv) > 1 else "")
    if extra is None:
        sys.exit("error: say what to install for: python3 scripts/bootstrap.py " + "|".join(EXTRAS))
    lacking = list(missing(extra))
    if lacking:
        sys.exit("\n\n".join("error: {}\nmend:  {}".format(*pair) for pair in lacking))
    done = stamps()
    if wanted(extra) in done or wanted("test") in done:
        return
    print("installing the pinned packages into .venv (about a minute; once)", file=sys.stderr, flush=True)
    if not os.path.exists(PYTHON) or not same_python():
        shutil.rmtree(VENV, ignore_errors=True)
        done = []
        if run([sys.executable, "-m", "venv", VENV]) != 0:
            sys.exit("error: the virtual environment could not be made (the message is above)")
    # A pip that is too old does not know the wheels' platform tags.
    pip("--upgrade", "pip")
    pip("hatchling", "editables")
    pip("--no-build-isolation", "-e", "python_backend", "-e", ".[{}]".format(extra))
    with open(STAMP, "w", encoding="utf-8") as file:
        # Stamps of other pins are of packages that have just been replaced.
        current = {wanted(name) for name in EXTRAS.values()}
        file.write("\n".join([*(stamp for stamp in done if stamp in current), wanted(extra)]) + "\n")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
