"""What people write today to map a Python function over JSON lines from stdin: the same work as `poolctl map`.

usage: pools.py loop|map|imap|imap-chunks|executor
"""

import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

from functions import square

WORKERS = 2
CHUNK = 1000


def main(way):
    items = (json.loads(line) for line in sys.stdin)
    if way == "loop":
        write(map(square, items))
    elif way == "executor":
        with ProcessPoolExecutor(WORKERS) as pool:
            write(pool.map(square, items, chunksize=CHUNK))
    else:
        with multiprocessing.Pool(WORKERS) as pool:
            if way == "map":
                write(pool.map(square, items))
            elif way == "imap":
                write(pool.imap(square, items))
            elif way == "imap-chunks":
                write(pool.imap(square, items, chunksize=CHUNK))
            else:
                sys.exit(__doc__)


def write(results):
    sys.stdout.writelines(json.dumps(result) + "\n" for result in results)


if __name__ == "__main__":
    main(sys.argv[1])
