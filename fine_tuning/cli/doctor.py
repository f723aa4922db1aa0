"""`doctor`: tests what a run needs on this machine; each finding says what to do next."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any, Literal

from fine_tuning.cli.output.outcome import Outcome
from fine_tuning.cli.settings.resolve import Resolved
from fine_tuning.disk.resources import CONSTRAINTS, REINSTALL
from fine_tuning.engine.gpus import (
    FITTING_BUILD,
    OLD_BUILD,
    driver_gpus,
    install_torch,
    other_devices,
)
from fine_tuning.errors import EXIT_DONE, EXIT_FAILED
from fine_tuning.escaping import visible
from fine_tuning.hubs import sites
from fine_tuning.importing import installed_version
from fine_tuning.values.spec import RunSpec

ENGINE_STACK = ("torch", "transformers", "peft", "datasets", "accelerate", "trl", "llamafactory")
OPTIONAL = ("bitsandbytes", "deepspeed")
COMPANIONS = ("torchvision", "torchaudio")  # must match torch, also for text
GIB = 2**30

# Runs in a process of its own, since the front end never imports torch, and an import may crash.
PROBE = """
import importlib, json, sys
found = {"imports": {}}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
        found["imports"][name] = ""
    except BaseException as error:
        found["imports"][name] = f"{type(error).__name__}: {error}".splitlines()[0]
if not found["imports"].get("torch", "absent"):
    import torch
    found["cuda_build"] = torch.version.cuda or torch.version.hip
    found["cuda"] = torch.cuda.is_available()
    found["devices"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    found["broken"] = {}
    for i in range(len(found["devices"])):
        try:
            torch.ones(8, device=f"cuda:{i}").mul(2).sum().item()
        except Exception as error:
            found["broken"][str(i)] = str(error).splitlines()[0]
    found["mps"] = bool(torch.backends.mps.is_available())
    try:
        torch.cuda.init() if not found["cuda"] else None
    except Exception as error:
        found["cuda_error"] = str(error).splitlines()[0]
print("PROBE" + json.dumps(found))
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: `level` is ok, note, warn (a run may do without) or fail (a run cannot)."""

    level: Annotated[
        Literal["ok", "note", "warn", "fail"], "warn: a run may do without; fail: a run cannot"
    ]
    name: Annotated[str, "what was tested"]
    found: Annotated[str, "what was found"]
    next: Annotated[str, "what to do"] = ""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What a run needs, and whether it is there."""

    ready: Annotated[bool, "whether a run can start"]
    findings: Annotated[tuple[Finding, ...], "in the order of the tests"]


def run(job: Resolved) -> Outcome[Diagnosis]:
    """Print the findings as they come; 1 if something that a run needs is broken."""
    found = []
    for finding in findings(job.spec):
        print(line_of(finding), flush=True)
        found.append(finding)
    failed = sum(finding.level == "fail" for finding in found)
    print(f"\n{failed} of these must be mended before a run." if failed else "\nReady for a run.")
    return Outcome(
        Diagnosis(ready=not failed, findings=tuple(found)), EXIT_FAILED if failed else EXIT_DONE
    )


def findings(spec: RunSpec) -> Iterator[Finding]:
    """Everything that is tested, the quick tests first."""
    yield python_finding(sys.version_info[:3])
    yield memory_finding()
    yield from disk_findings(
        {
            "runs": spec.output_dir or Path("runs"),
            "data folder": spec.dataset_dir,
            "model cache": sites.cache(),
            "temporary": Path(tempfile.gettempdir()),
        }
    )
    yield from hub_findings()
    yield from version_findings(pins())
    yield Finding("note", "imports", "importing the engine, which takes some seconds ...")
    probed = probe()
    yield from import_findings(probed)
    yield from device_findings(probed, driver_gpus(), use_cpu=spec.use_cpu, others=other_devices())


def line_of(finding: Finding) -> str:
    """One finding in 80 columns."""
    text = visible(finding.found) + (f"\nnext: {finding.next}" if finding.next else "")
    lines = [part for line in text.split("\n") for part in wrap(line, 58) or [""]]
    head = f"{finding.level:<5} {finding.name:<14} {lines[0]}"
    return "\n".join([head, *(" " * 21 + line for line in lines[1:])])


def python_finding(found: tuple[int, ...]) -> Finding:
    """Python itself."""
    text = ".".join(str(part) for part in found)
    if (3, 11) <= found[:2] <= (3, 13):
        return Finding("ok", "python", f"{text} ({sys.executable})")
    return Finding("fail", "python", text, "use Python 3.11, 3.12 or 3.13")


def memory_finding() -> Finding:
    """Main memory that is free."""
    try:
        import psutil
    except ImportError:
        return Finding("warn", "memory", "unknown, because psutil is not installed", REINSTALL)
    memory = psutil.virtual_memory()
    text = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free"
    if memory.available < 2 * GIB:
        return Finding("warn", "memory", text, "close other programs; loading a model needs room")
    return Finding("ok", "memory", text)


OTHER_FOLDER = {
    "runs": "choose another with --output_dir",
    "data folder": "choose another with --dataset_dir",
    "model cache": "set HF_HOME to a folder of yours",
    "temporary": "set TMPDIR to a folder of yours",
}


def disk_findings(folders: Mapping[str, Path]) -> Iterator[Finding]:
    """Folders that a run writes to: may it, and is there room."""
    for name, folder in folders.items():
        there = folder.absolute()
        while not there.exists():
            there = there.parent
        if not there.is_dir() or not _writable(there):
            yield Finding("fail", name, f"{folder} cannot be written to", OTHER_FOLDER[name])
            continue
        free = shutil.disk_usage(there).free / GIB
        text = f"{folder}: writable, {free:.0f} GiB free"
        if free < 1:
            yield Finding("fail", name, text, "free some space; a checkpoint alone needs more")
        elif free < 20 and name in ("runs", "model cache"):
            yield Finding("warn", name, text, "enough for small models; a 7B model takes 15 GiB")
        else:
            yield Finding("ok", name, text)


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def hub_findings() -> Iterator[Finding]:
    """Whether models and datasets can be fetched by name, and with whose token."""
    offline = [name for name in sites.OFFLINE if sites.is_on(name)]
    endpoint = sites.site()
    if offline:
        yield Finding("note", "hub", f"offline mode ({', '.join(offline)}): only cached models")
    elif (trouble := unreachable(endpoint)) == "":
        yield Finding("ok", "hub", f"{endpoint} answers")
    else:
        yield Finding(
            "warn",
            "hub",
            f"{endpoint} does not answer ({trouble})",
            "give local directories, or set HF_ENDPOINT to a mirror, or HTTPS_PROXY",
        )
    if os.environ.get("HF_TOKEN") or (sites.home() / "token").is_file():
        yield Finding("ok", "hub token", "present")
    else:
        yield Finding("note", "hub token", "none; only gated and private models need HF_TOKEN")


def unreachable(endpoint: str, timeout: float = 5.0) -> str:
    """Why the endpoint gives no answer to a HEAD request; empty if it does answer."""
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    try:
        with urlopen(Request(endpoint, method="HEAD"), timeout=timeout):
            return ""
    except HTTPError:
        return ""  # a refusal is an answer
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", None) or error)


def pins() -> dict[str, str]:
    """The tested versions, from constraints.txt."""
    if not CONSTRAINTS.is_file():
        return {}
    text = CONSTRAINTS.read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.\-]+)==([^\s;]+)", text, re.MULTILINE))


def version_findings(pinned: Mapping[str, str]) -> Iterator[Finding]:
    """The installed versions against the tested ones: a warning for each of the engine's own stack,
    which is pinned, and a note for the others, which may be newer."""
    same = 0
    others = []
    for name, tested in pinned.items():
        with suppress(PackageNotFoundError):
            found = version(name)
            if found.partition("+")[0] == tested.partition("+")[0]:
                same += 1
            elif name in (*ENGINE_STACK, *OPTIONAL, *COMPANIONS):
                yield Finding("warn", name, f"{found}, tested with {tested}", REINSTALL)
            else:
                others.append(f"{name} {found} ({tested})")
    if others:
        text = f"not the tested versions, which stand in brackets: {', '.join(others)}"
        yield Finding("note", "versions", text)
    if pinned:
        yield Finding("ok", "versions", f"{same} packages have their tested versions")
    else:
        yield Finding("warn", "versions", f"{CONSTRAINTS} is missing, so none was compared")


def probe() -> dict[str, Any]:
    """Import the engine's packages elsewhere, and ask torch for devices."""
    command = [sys.executable, "-c", PROBE, *ENGINE_STACK, *OPTIONAL]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return {"imports": {"torch": "no end after 300 s"}}
    for line in done.stdout.splitlines():
        if line.startswith("PROBE"):
            found: dict[str, Any] = json.loads(line.removeprefix("PROBE"))
            return found
    last = (done.stderr.strip().splitlines() or ["no output"])[-1]
    return {"imports": {"torch": f"the import ended the process ({done.returncode}): {last}"}}


def import_findings(probed: Mapping[str, Any]) -> Iterator[Finding]:
    """Which packages import, with their versions."""
    imports: Mapping[str, str] = probed["imports"]
    good = [name for name, trouble in imports.items() if not trouble]
    if good:
        yield Finding(
            "ok",
            "imports",
            ", ".join(f"{name} {installed_version(name) or '(version unknown)'}" for name in good),
        )
    for name, trouble in imports.items():
        if not trouble:
            continue
        if name in OPTIONAL:
            without = {
                "bitsandbytes": "--quantization needs it",
                "deepspeed": "--deepspeed needs it (Linux only)",
            }
            yield Finding("warn", name, f"{trouble}; {without[name]}", REINSTALL)
        else:
            yield Finding("fail", name, trouble, REINSTALL)


def device_findings(
    probed: Mapping[str, Any], gpus: Iterable[str], *, use_cpu: bool, others: Sequence[str] = ()
) -> Iterator[Finding]:
    """What a run would train on; a GPU that torch cannot use is never passed over in silence."""
    seen = tuple(gpus)
    if probed.get("cuda"):
        for index, name in enumerate(probed["devices"]):
            broken = probed.get("broken", {}).get(str(index))
            text = f"{name}, torch built for CUDA {probed['cuda_build']}"
            if broken:
                fix = f"for an older GPU {install_torch(OLD_BUILD)}"
                yield Finding("fail", "GPU", f"{text}: one kernel was tried: {broken}", fix)
            else:
                yield Finding("ok", "GPU", f"{text}; it computes")
    elif seen:
        for gpu in seen:
            name, _, driver = gpu.rpartition(", ")
            yield Finding(
                "warn" if use_cpu else "fail",
                "GPU",
                f"{name} is there, but torch cannot use it: driver {driver}, torch built for CUDA "
                f"{probed.get('cuda_build') or 'none'}. {probed.get('cuda_error', '')}".strip(),
                f"update the driver, or {install_torch(FITTING_BUILD)}, or train with --use_cpu",
            )
    elif probed.get("mps"):
        yield Finding("ok", "GPU", "Apple MPS")
    elif others:
        text = f"{' and '.join(others)}, which this build of torch cannot use"
        yield Finding(
            "warn", "GPU", text, f"where torch has one for it: {install_torch(FITTING_BUILD)}"
        )
    else:
        yield Finding(
            "note", "GPU", "none; training runs on the CPU, which suits small models only"
        )
