from .a2c import A2C as A2C
from .actor_critic import ActorCritic as ActorCritic
from .core.policy_gradient import PolicyGradient as PolicyGradient
from .core.run import Run as Run
from .core.task import Task as Task
from .ppo import PPO as PPO
from .reinforce import Reinforce as Reinforce
from .reinforce_baseline import ReinforceBaseline as ReinforceBaseline
