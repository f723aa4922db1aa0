"""From a dataset and a few flags to a fine-tuned, checked and merged model, with LLaMA-Factory."""

import sys

if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036  # any Python may be the one that is called
        # this file stays within what every Python parses, so that this line is what they say
        sys.exit("error: Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ".")
    try:
        from fine_tuning.cli.main import main
    except KeyboardInterrupt:  # main() answers later ones
        sys.exit(130)
    sys.exit(main())
