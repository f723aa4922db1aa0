"""Get what writes and quantises GGUF files, without a compiler.

    python -m fine_tuning.ship.llama_cpp [--once]

The converters come from the source distribution of llama-cpp-python, which carries llama.cpp; the
quantiser is llama.cpp's library in a package of node-llama-cpp, which `npm` fetches. Both are
compared with their hashes before they are used. With --once nothing is tried again after a failure.
"""

import sys

from fine_tuning.ship.llama_cpp.get import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
