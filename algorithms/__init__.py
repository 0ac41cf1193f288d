"""Policy gradients, one short file per algorithm, and what a program needs of them.

    from policy_gradient_ladder import PPO, Task, load_policy, train

    run = train(PPO(clip=0.1), "Hopper-v5", seed=0, steps=100_000)
    run.policy.evaluate(episodes=20)

`__init__.pyi` lists the names, each with its module, which is imported when the name is first used.
"""

import lazy_loader

if __name__ == "algorithms":  # the folder's name, in a checkout: see core/checkout.py
    import importlib.util
    import sys

    if "policy_gradient_ladder" not in sys.modules:
        spec = importlib.util.spec_from_file_location("policy_gradient_ladder", __file__)
        sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[spec.name])
    from policy_gradient_ladder.core.checkout import share

    share(__file__)
else:
    __getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
