"""Commands that look at runs, at the board, and at this machine."""

from fine_tuning.cli.settings.words.program import Command, option

LOOKING = (
    Command(
        name="runs",
        runner="fine_tuning.cli.runs.listing:run",
        summary="list runs; compare, reproduce, watch them",
        about="List the runs below a directory (default: runs), the newest first: state, "
        "model, data, method, scores, time. `runs compare`, `runs reproduce` and `runs watch` "
        "look closer (each has its --help).",
        examples=("", "experiments --json"),
        takes=(),
        operand=option("directory", "list", "directory to look below", "DIR"),
        usage="[DIR] [flags]",
    ),
    Command(
        name="runs compare",
        runner="fine_tuning.cli.runs.compare:run",
        summary="what differs in runs, and how their scores differ",
        about="Show what differs in settings, data and package versions of two runs or more, "
        "and how the scores of each differ from the first one's: paired, where the held-out "
        "rows are the same. A page shows the curves over each other.",
        examples=("runs/a runs/b", "runs/a runs/b runs/c --page abc.html"),
        takes=("lang",),
        options=(
            option(
                "page",
                "path",
                "write the page here (default: compare.html beside the first run)",
                "FILE",
            ),
        ),
        operand=option("run", "list", "folder of a run", "RUN"),
        usage="RUN RUN ... [flags]",
    ),
    Command(
        name="runs reproduce",
        runner="fine_tuning.cli.runs.reproduce:run",
        summary="the command of a run, and what differs here",
        about="Print the command that makes a run again, with what was chosen for it, and what "
        "differs on this machine: versions, data and base model by their hashes, devices. "
        "--verify trains the first steps again, in a temporary folder, and compares losses "
        "and weights; the run itself is only read.",
        examples=("runs/a", "runs/a --verify"),
        takes=(),
        options=(
            option("verify", "bool", "train the first steps again and compare"),
            option(
                "steps",
                "int",
                "steps that --verify trains (default: to the first whose weights the run "
                "kept the hashes of)",
                "N",
            ),
        ),
        operand=option("run", "list", "folder of a run", "RUN"),
        usage="RUN [flags]",
    ),
    Command(
        name="runs watch",
        runner="fine_tuning.cli.runs.watch:run",
        summary="follow a run from another terminal",
        about="Follow a run that is at work, until it ends; the exit code is then the run's. "
        "Ctrl-C ends the watching, and leaves the run alone.",
        examples=("runs/a",),
        takes=(),
        operand=option("run", "list", "folder of a run", "RUN"),
        usage="RUN [flags]",
    ),
    Command(
        name="webui",
        runner="fine_tuning.cli.webui:run",
        summary="LLaMA Board over the same data, in the browser",
        about="Start LLaMA-Factory's web interface on this machine. It lists the datasets "
        "that runs have prepared, and the bundled samples. Beside it a page lists the runs, "
        "with the report of each.",
        examples=("", "--port 8000 --dataset_dir data"),
        takes=("dataset_dir",),
        words={"dataset_dir": "folder of the prepared datasets (default: data)"},
        options=(
            option(
                "host",
                "text",
                "address to listen on (default: 127.0.0.1, this machine only)",
                "HOST",
                "launch",
            ),
            option("port", "int", "port (default: 7860, or a free one if taken)", "PORT", "launch"),
            option(
                "runs_dir",
                "path",
                "folder of the runs to list (default: runs)",
                "DIR",
                "launch",
            ),
        ),
    ),
    Command(
        name="doctor",
        runner="fine_tuning.cli.doctor:run",
        summary="test the environment",
        about="Test what a run needs: packages and their versions, devices, memory, disk, "
        "network. Each line says what to do next.",
        examples=("", "--output_dir /data/runs --use_cpu"),
        takes=("output_dir", "dataset_dir", "use_cpu"),
        words={"output_dir": "where runs are to lie (default: runs)"},
    ),
)
