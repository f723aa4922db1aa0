"""Get llm-compressor, in a folder of its own.

    python -m fine_tuning.ship.llm_compressor

No release of it fits the versions that train here, so it does not go into the environment: it lies
beside it, with the Transformers and datasets that it needs, and only its own process sees them.
"""

import sys

from fine_tuning.ship.llm_compressor.get import main

if __name__ == "__main__":
    sys.exit(main())
