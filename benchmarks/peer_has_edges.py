"""napistu-torch 0.4.0's ``has_edges`` on a given graph; runs in the peer's own environment.

python peer_has_edges.py GRAPH.npz QUERIES.npz ANSWERS.npy
"""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
from measure import measured
from napistu_torch.napistu_data import NapistuData

if __name__ == "__main__":
    graph, queries = np.load(sys.argv[1]), np.load(sys.argv[2])
    edges = torch.from_numpy(np.stack([graph["src"], graph["dst"]]).astype(np.int64))
    vertices = int(graph["vertices"])
    data = NapistuData(
        x=torch.zeros(vertices, 1), edge_index=edges, edge_attr=torch.zeros(edges.shape[1], 1)
    )
    pairs = torch.from_numpy(np.stack([queries["a"], queries["b"]]).astype(np.int64))
    has_edge, figures = measured(lambda: data.has_edges(pairs))
    np.save(sys.argv[3], has_edge.numpy())
    print(json.dumps(figures))
