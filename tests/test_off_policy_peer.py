"""Whole updates of DDPG, TD3 and SAC against Stable-Baselines3's, with equal parameters, batches and noise."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from algorithms.core.hooks import next_algorithm
from algorithms.core.off_policy_update import Networks, OffPolicyUpdate
from algorithms.ddpg import DDPG
from algorithms.sac import SAC
from algorithms.td3 import TD3
from tests.test_off_policy import a_batch, some_noise

sb3 = pytest.importorskip("stable_baselines3")
SIZES, UPDATES, D, A, B = [16, 16], 6, 3, 2, 32
TOLERANCE = 2e-5  # of parameters after six updates, whose sums round differently


class Still(gymnasium.Env):
    """Spaces, and nothing else: no update depends on what it does."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (D,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (A,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(D, np.float32), {}

    def step(self, action):
        return np.zeros(D, np.float32), 0.0, False, False, {}


def peer(name, algorithm, **settings):
    """Stable-Baselines3's model with the algorithm's settings, before its first step."""
    a = algorithm
    model = getattr(sb3, name)(
        *("MlpPolicy", Still()),
        learning_rate=a.policy_learning_rate,
        gamma=a.gamma,
        tau=a.tau,
        batch_size=B,
        policy_kwargs={"net_arch": SIZES, "activation_fn": torch.nn.ReLU},
        device="cpu",
        seed=0,
        **settings,
    )
    model._setup_learn(1, None)
    return model


def networks_like(model, algorithm) -> Networks:
    """Networks with the model's parameters."""
    networks = Networks(algorithm, D, Still.action_space, torch.Generator().manual_seed(0))
    networks.set_learning_rates(algorithm.policy_learning_rate, algorithm.value_learning_rate)
    for of, vector in zip(networks.all(), vectors_of(model, algorithm), strict=True):
        of.vector.copy_(vector)
    return networks


def vectors_of(model, algorithm) -> list[torch.Tensor]:
    """The model's parameters in the order of `Networks.all`."""

    def of_actor(actor):
        if not algorithm.stochastic:
            return list(actor.mu.parameters())
        heads = [(actor.mu.weight, actor.log_std.weight), (actor.mu.bias, actor.log_std.bias)]
        return [*actor.latent_pi.parameters(), *(torch.cat(pair) for pair in heads)]

    found = [of_actor(model.actor)]
    found += [list(q.parameters()) for critics in (model.critic, model.critic_target) for q in critics.q_networks]
    if algorithm.target_policy:
        found.append(of_actor(model.actor_target))
    return [torch.cat([p.detach().ravel() for p in parameters]) for parameters in found]


def feed(model, batches, noises, algorithm, monkeypatch):
    """Let the model sample these batches and draw this noise."""
    samples, drawn = iter(batches), []
    for noise in noises:
        if algorithm.stochastic:  # first for the state, then for its successor
            drawn += [noise.actions, noise.next_actions]
        elif isinstance(algorithm, TD3):
            drawn.append(noise.next_actions)
    numbers = iter(drawn)

    def sample(batch_size, env=None):
        b = next(samples)
        rows = (b.observations, b.actions, b.next_observations, b.terminated[:, None], b.rewards[:, None])
        return sb3.common.type_aliases.ReplayBufferSamples(*rows)

    monkeypatch.setattr(model.replay_buffer, "sample", sample)
    monkeypatch.setattr("torch.distributions.normal._standard_normal", lambda *args, **options: next(numbers).clone())
    if isinstance(algorithm, TD3):
        monkeypatch.setattr(torch.Tensor, "normal_", lambda self, mean, std: self.copy_(mean + std * next(numbers)))
    else:  # DDPG is TD3 without noise
        monkeypatch.setattr(torch.Tensor, "normal_", lambda self, mean, std: self.copy_(torch.zeros_like(self)))


@pytest.mark.parametrize(
    ("name", "algorithm", "settings"),
    [
        ("DDPG", DDPG(), {}),
        ("TD3", TD3(), {}),
        ("TD3", TD3(policy_delay=1, smoothing_noise=0.4, smoothing_clip=0.3), {}),
        ("SAC", SAC(temperature=0.2, temperature_learning_rate=0.0), {"ent_coef": 0.2}),
        ("SAC", SAC(), {"ent_coef": "auto"}),
        ("SAC", SAC(temperature=0.5, target_entropy=-3.0), {"ent_coef": "auto_0.5", "target_entropy": -3.0}),
    ],
    ids=["ddpg", "td3", "td3 of other settings", "sac", "sac adaptive", "sac adaptive from 0.5"],
)
def test_whole_updates_are_those_of_the_peer(name, algorithm, settings, monkeypatch):
    algorithm = replace(
        algorithm,
        **{"hidden_sizes": tuple(SIZES), "policy_learning_rate": 3e-3, "value_learning_rate": 3e-3, "tau": 0.1},
    )
    if isinstance(algorithm, SAC) and algorithm.temperature_learning_rate:
        algorithm = replace(algorithm, temperature_learning_rate=3e-3)  # the peer has one rate
    if isinstance(algorithm, TD3):
        settings = {
            "policy_delay": algorithm.policy_delay,
            "target_policy_noise": algorithm.smoothing_noise,
            "target_noise_clip": algorithm.smoothing_clip,
        }
    model = peer(name, algorithm, **settings)
    networks = networks_like(model, algorithm)
    before = [of.vector.clone() for of in networks.all()]
    batches = [a_batch(i, B) for i in range(UPDATES)]
    noises = [some_noise(100 + i, B) for i in range(UPDATES)]
    feed(model, batches, noises, algorithm, monkeypatch)
    model.train(UPDATES, B)
    update = OffPolicyUpdate(networks)
    for i in range(UPDATES):
        moves_policy = (i + 1) % algorithm.policy_delay == 0
        record = update.step(algorithm, batches[i], noises[i], moves_policy=moves_policy)
        algorithm = next_algorithm(algorithm, record | {"action_size": float(A)})
    for of, vector, at_first in zip(networks.all(), vectors_of(model, algorithm), before, strict=True):
        torch.testing.assert_close(
            of.vector, vector, atol=TOLERANCE, rtol=0, msg=lambda said, of=of: f"{of.name}: {said}"
        )
        assert (of.vector - at_first).abs().max() > 50 * TOLERANCE
    if isinstance(algorithm, SAC):
        kept = model.log_ent_coef.exp().item() if model.log_ent_coef is not None else float(model.ent_coef_tensor)
        assert algorithm.temperature == pytest.approx(kept, rel=1e-5)
