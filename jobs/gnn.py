"""Train, score and evaluate graph neural networks: ``python jobs/gnn.py train CONFIG --out DIR``.

For ``ray job submit``; the same as ``octoscope gnn``. A training that is submitted again with the
same arguments goes on where it was stopped.
"""

from run import main

if __name__ == "__main__":
    main("gnn")
