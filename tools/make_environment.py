"""Make .venv with the tested versions, once: python3 tools/make_environment.py

Runs before anything is installed, also under Pythons that are too old: plain syntax only.
"""

from __future__ import print_function

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
STAMP = os.path.join(VENV, "installed.txt")
LOG = os.path.join(VENV, "install.log")
WANTED = "requirements-dev.txt"
LARGE_MB = 20  # a download of this size is worth a line
NEEDED_GIB = 8
# "Downloading torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl (530.2 MB)"; also as an address
DOWNLOAD = re.compile(
    r"^\s*Downloading (?:\S*/)?(?P<name>[A-Za-z0-9_.]+)-(?P<version>\d[^-\s]*?)"
    r"(?:-\S*\.whl|\.tar\.gz) \((?P<size>[\d.]+) (?P<unit>\w+)\)"
)
KNOWN_FAILURES = (
    (
        r"No space left on device|Errno 28|Disk quota",
        "the disk is full",
        "free about %d GB" % NEEDED_GIB,
    ),
    (
        r"NewConnectionError|NameResolutionError|Temporary failure in name resolution"
        r"|Network is unreachable|ReadTimeoutError|ConnectTimeout|ProxyError|SSLError",
        "the package registry cannot be reached",
        "check the network (and pip's proxy and index settings)",
    ),
    (
        r"Could not find a version that satisfies|ResolutionImpossible",
        "a tested version is not to be had for this Python or system",
        "use Python 3.11 on Linux, macOS 14 (Apple silicon) or Windows",
    ),
    (r"hash|BadZipFile|invalid wheel", "a downloaded package is damaged", "run it again"),
)


def stop(what, fix):
    """Say in one line what is wrong and what to do."""
    sys.exit("error: %s; %s." % (what, fix))


def wanted():
    """A hash of what should be installed."""
    digest = hashlib.sha256(sys.version.split()[0].encode())
    for name in ("pyproject.toml", "constraints.txt", WANTED):
        with open(os.path.join(ROOT, name), "rb") as source:
            digest.update(source.read().partition(b"[tool.")[0])  # what follows installs nothing
    return digest.hexdigest()


def installed():
    """The hash of what is installed, or nothing."""
    if not os.path.exists(STAMP) or not os.path.exists(python()):
        return ""
    with open(STAMP) as stamp:
        return stamp.read().strip()


def python():
    """The environment's own Python."""
    return os.path.join(VENV, "Scripts\\python.exe" if os.name == "nt" else "bin/python")


def unsupported_system():
    """Why the tested versions cannot be had for this system, or nothing.

    Said before anything is downloaded; pip would name one package after some minutes.
    """
    if sys.platform != "darwin":
        return ""
    if platform.machine() != "arm64":
        return "torch is no longer built for Macs with an Intel processor"
    release = platform.mac_ver()[0]
    if int(release.split(".")[0]) < 14:
        return "bitsandbytes is built for macOS 14 and newer, and this is " + release
    return ""


def free_gib():
    """Free space where the environment will lie, in GiB."""
    return shutil.disk_usage(ROOT).free / 1024.0**3


def run_logged(command):
    """Run pip with its output in the log, and its large downloads on the screen; true if it
    succeeded."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with open(LOG, "ab") as log:
        for line in process.stdout:
            log.write(line)
            log.flush()
            said = progress(line.decode("utf-8", "replace"))
            if said:
                print("  " + said)
                sys.stdout.flush()
    return process.wait() == 0


def progress(line):
    """What a line of pip's output tells somebody who waits, or nothing."""
    found = DOWNLOAD.search(line)
    if found and in_mb(found.group("size"), found.group("unit")) >= LARGE_MB:
        return "downloading %(name)s %(version)s (%(size)s %(unit)s)" % found.groupdict()
    if line.startswith("Installing collected packages:"):
        return "unpacking %d packages ..." % (line.count(",") + 1)
    return ""


def in_mb(size, unit):
    """A size as pip writes it, in megabytes."""
    return float(size) * {"GB": 1000.0, "MB": 1.0}.get(unit, 0.0)


def explain():
    """The cause of a failed installation, from its log."""
    with open(LOG, errors="replace") as log:
        text = log.read()
    for pattern, what, fix in KNOWN_FAILURES:
        if re.search(pattern, text):
            stop(
                "the installation failed: " + what,
                fix + ", then repeat the command (log: %s)" % LOG,
            )
    lines = [line for line in text.splitlines() if line.strip()]
    stop("the installation failed: " + (lines[-1] if lines else "no output"), "the log is " + LOG)


def main():
    """Check, create, install; nothing if it was done before."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        stop(
            "Python %d.%d cannot be used" % sys.version_info[:2],
            "install Python 3.11, 3.12 or 3.13 and run `make PYTHON=python3.11 ...`",
        )
    if installed() == wanted():
        return
    if unsupported_system():
        stop(unsupported_system(), "use Linux, Windows, or a Mac with Apple silicon and macOS 14")
    if free_gib() < NEEDED_GIB and not os.path.exists(python()):
        stop(
            "%.1f GB are free here and the packages need %d GB" % (free_gib(), NEEDED_GIB),
            "free some, or put the project on another disk",
        )
    print("Installing the tested packages into .venv (once; about 6 GB, some minutes):")
    sys.stdout.flush()
    try:
        if not os.path.exists(python()):
            import venv

            venv.create(VENV, with_pip=True, symlinks=os.name != "nt")
        open(LOG, "w").close()
    except (OSError, subprocess.CalledProcessError) as error:
        stop(
            "the environment cannot be created: %s" % error,
            "is python3-venv installed, the disk full or read-only?",
        )
    pip = [python(), "-m", "pip", "--disable-pip-version-check", "install", "--no-input"]
    if not run_logged([*pip, "--progress-bar", "off", "-r", WANTED]):
        explain()
    with open(STAMP, "w") as stamp:
        stamp.write(wanted())
    print("Installed.")


if __name__ == "__main__":
    main()
