"""A shared return: every agent's ∇log π_i(a_i) times the reward that all have got."""

TITLE = "shared return"


def gradients(batch):
    """[N, P], agent by agent."""
    return (batch.agent_scores * batch.rewards[:, :, None]).reshape(len(batch), -1)
