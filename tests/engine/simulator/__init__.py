"""Random worlds around the pure core, one file per noun. The shell is played in memory as the verbs play it."""
