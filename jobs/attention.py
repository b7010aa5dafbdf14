"""Plan a run and compute its attention stage: ``python jobs/attention.py CONFIG --out RUN``.

The same as ``octoscope run --stage attention``.
"""

from run import main

if __name__ == "__main__":
    main("run", "--stage", "attention")
