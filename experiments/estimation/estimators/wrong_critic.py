"""A wrong critic in place of the return: Σ_t γ^t ∇log π(a_t|s_t) Q'(s_t, a_t), where Q' has wrong values of states."""

TITLE = "wrong critic"


def gradients(batch):
    """[N, P]."""
    return batch.weighted_scores(batch.wrong_action_values)
