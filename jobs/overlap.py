"""Finish a run, layers, overlap and report: ``python jobs/overlap.py RUN``.

The same as ``octoscope overlap``.
"""

from run import main

if __name__ == "__main__":
    main("overlap")
