"""The counterfactual baseline (Foerster et al., 2018): ∇log π_i(a_i) (Q(a) − Σ_a' π_i(a') Q(a', a_−i)) of each agent.

Q is the exact expected reward of joint actions.
"""

import numpy as np

TITLE = "counterfactual"


def gradients(batch):
    """[N, P], agent by agent."""
    values = batch.counterfactual_rewards
    taken = np.take_along_axis(values, batch.joint[..., None], axis=2)
    advantages = taken - (batch.agent_policies * values).sum(2, keepdims=True)
    return (batch.agent_scores * advantages).reshape(len(batch), -1)
