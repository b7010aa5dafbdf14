"""The analyses that every run makes, in the order in which they run; one module each."""

from octoscope.analysis.tables.agreement_tables import AGREEMENT_ANALYSIS
from octoscope.analysis.tables.coherence_tables import COHERENCE_ANALYSIS
from octoscope.analysis.tables.consensus_tables import CONSENSUS_ANALYSIS
from octoscope.analysis.tables.controlled_tables import CONTROLLED_ANALYSIS
from octoscope.analysis.tables.geometry_tables import GEOMETRY_ANALYSIS
from octoscope.analysis.tables.gnn_tables import GNN_ANALYSIS
from octoscope.analysis.tables.joined_tables import JOINED_ANALYSIS
from octoscope.analysis.tables.layer_tables import LAYER_ANALYSIS
from octoscope.analysis.tables.model_tables import MODEL_ANALYSIS
from octoscope.analysis.tables.overlap_tables import OVERLAP_ANALYSIS
from octoscope.analysis.tables.path_tables import PATH_ANALYSIS
from octoscope.analysis.tables.pool_tables import POOL_ANALYSIS
from octoscope.analysis.tables.shared_tables import SHARED_ANALYSIS

BUILT_IN = (
    JOINED_ANALYSIS,
    LAYER_ANALYSIS,
    OVERLAP_ANALYSIS,
    PATH_ANALYSIS,
    CONTROLLED_ANALYSIS,
    GNN_ANALYSIS,
    MODEL_ANALYSIS,
    AGREEMENT_ANALYSIS,
    CONSENSUS_ANALYSIS,
    SHARED_ANALYSIS,
    COHERENCE_ANALYSIS,
    POOL_ANALYSIS,
    GEOMETRY_ANALYSIS,
)
