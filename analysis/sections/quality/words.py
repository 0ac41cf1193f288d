"""Words that the figures and the sentences of this section share."""

PAPERS_PAIRS = (
    2_000  # of an estimate in common implementations: Ilyas et al. (2020), the vertical lines of figures 1, 2
)
VALUE_FUNCTIONS = {"trained": "value function as trained", "fitted": "fitted value function", "none": "none"}
TARGETS = {"gae": "what it is trained on", "returns": "true returns"}  # what a value function is compared with
