"""The Python API: what ``import octoscope as oc`` offers. Command line and report read it too."""
