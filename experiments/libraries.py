"""Another library's algorithm as one of ours: its class by an import path, its settings by the class's constructor."""

import dataclasses
import difflib
import functools
import importlib
import importlib.metadata
import inspect
import json
import re
import types
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, Union, get_args, get_origin

from policy_gradient_ladder.core.algorithm import Algorithm, InvalidSetting, OnUpdate, OnWait, nearest_first, whole
from policy_gradient_ladder.core.run import EVALUATIONS, Run
from policy_gradient_ladder.core.task import Task

INTERFACE = "stable_baselines3"  # the library whose interface a class has to have
INSTALL = "pip install -e '.[others]'"
LIBRARIES = {INTERFACE: "Stable-Baselines3", "sb3_contrib": "SB3-Contrib"}  # module → its name in titles
CLASS_PATH = r"[A-Za-z_][\w.]*:[A-Za-z_]\w*"  # package.module:Name
# Parameters of a constructor that are no settings: the run gives them, or no number of a run depends on them.
NO_SETTINGS = ("self", "policy", "env", "seed", "device", "verbose", "tensorboard_log", "_init_setup_model")
OBJECTS = ("_fn", "_class")  # end the names of arguments that take a class
SHOWN_CLASSES = 12  # of a module, where none has a name like the one that was given
JSON_TYPES = (int, float, bool, str, type(None))
DESCRIBED = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}


class InvalidLibrary(ValueError):
    """Another library or its class cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class LibraryAlgorithm(Algorithm):
    """An algorithm of another library, which has the interface of Stable-Baselines3.

    `library_algorithm` makes a subclass for each class of a library. Its further fields are the parameters of the
    constructor, with the library's own defaults.
    """

    library: ClassVar[str]  # the top-level module
    library_name: ClassVar[str]  # as in titles
    path: ClassVar[str]  # module:Class
    library_class: ClassVar[Any]
    hints: ClassVar[Mapping[str, Any]]  # the annotation of each setting
    required: ClassVar[frozenset[str]] = frozenset()  # settings without a default
    equation: ClassVar[str] = ""

    policy: str = "MlpPolicy"
    num_envs: int = 1  # as where Stable-Baselines3 is given a single environment

    def __post_init__(self) -> None:
        """Check the type of every setting by the constructor's annotation. Raises InvalidSetting."""
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            said = f"{name} of {type(self).__name__}"
            if name in self.required and value is None:
                raise InvalidSetting(f"{said} has no default; give it among the settings")
            hint = {"policy": str, "num_envs": int}.get(name, self.hints.get(name, Any))
            is_default = type(value) is type(field.default) and value == field.default
            if not is_default and not _fits(value, hint):
                raise InvalidSetting(f"{said} must be {_described(hint)}, not {value!r}")
            object.__setattr__(self, name, _converted(value, hint))
        if self.num_envs < 1:
            raise InvalidSetting(f"num_envs of {type(self).__name__} must be at least 1, not {self.num_envs}")

    def train(
        self,
        task: Task,
        seed: int,
        steps: int,
        *,
        checkpoint_fractions: Sequence[float] = (),
        compile: str = "auto",
        runs: int = 5,
        evaluations: Sequence[str] = EVALUATIONS,
        on_update: OnUpdate = lambda steps, episodes: None,
        on_wait: OnWait = lambda what, steps, episodes: None,
    ) -> Run:
        """Train as `Algorithm.train` says; nothing is compiled, and there are no checkpoints."""
        from .library_training import train  # imports the library, which takes a second

        return train(self, task, seed, steps, evaluations=evaluations, on_update=on_update, on_wait=on_wait)

    def check(self, task: Task) -> None:
        """Raise InvalidSetting where the library refuses the settings or the task's spaces; nothing is trained."""
        from .library_training import check

        check(self, task)

    @classmethod
    def library_version(cls) -> str | None:
        """The version of the library; None where it is no installed distribution, such as a user's own module."""
        try:
            return importlib.metadata.version(cls.library)
        except importlib.metadata.PackageNotFoundError:
            return None

    def arguments(self) -> dict[str, Any]:
        """The settings as the constructor takes them. Raises InvalidSetting where one names an object that is not."""
        names = [field.name for field in dataclasses.fields(self) if field.name not in ("policy", "num_envs")]
        return {name: self._object(name, getattr(self, name)) for name in names}

    def policy_argument(self) -> Any:
        """The policy as the constructor takes it: a name that the class knows, or a class."""
        return self._object("policy", self.policy)

    def _object(self, name: str, value: Any) -> Any:
        """What a value of a setting stands for.

        Text module:Name is that object, a mapping with the key `class` is a new object of it with the other entries as
        arguments, and anything else is itself.
        """
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if key.endswith(OBJECTS) and isinstance(inner, str) and not re.fullmatch(CLASS_PATH, inner):
                    raise InvalidSetting(
                        f"{name} of {type(self).__name__} has {key}: {inner!r}; a class is given by its import path, "
                        "such as torch.nn:ReLU"
                    )
            made = {key: self._object(name, inner) for key, inner in value.items()}
            if "class" not in made:
                return made
            try:
                return made.pop("class")(**made)
            except Exception as error:  # whatever a foreign constructor does
                raise InvalidSetting(f"{name} of {type(self).__name__} cannot be made: {_said(error)}") from error
        if isinstance(value, list):
            return [self._object(name, inner) for inner in value]
        if not isinstance(value, str) or not re.fullmatch(CLASS_PATH, value):
            return value
        try:
            return _imported(value)
        except InvalidLibrary as error:
            raise InvalidSetting(f"{name} of {type(self).__name__}: {error}") from error


def library_algorithm(library: str | None, name: str) -> type[LibraryAlgorithm]:
    """The algorithm whose class is `name` of a library, or is at the import path `name` (package.module:Class).

    Raises InvalidLibrary where the library is unknown or not installed, and where the class is not there or has not
    the interface of Stable-Baselines3.
    """
    if library is not None and library not in LIBRARIES:
        raise InvalidLibrary(
            f"library is {library!r}; {nearest_first(library, list(LIBRARIES))}; the class of any other package is "
            "given without a library, as class: package.module:Class"
        )
    if library is None and not re.fullmatch(CLASS_PATH, name):
        raise InvalidLibrary(
            f"class is {name!r}; it needs a library ({' or '.join(LIBRARIES)}), or an import path, package.module:Class"
        )
    if library is not None and not name.isidentifier():
        raise InvalidLibrary(f"class is {name!r}; beside a library it is the name of one of its classes, such as PPO")
    return _algorithm(f"{library}:{name}" if library else name)


@functools.cache
def _algorithm(path: str) -> type[LibraryAlgorithm]:
    """As `library_algorithm`, by the import path; the same class at every call."""
    _imported(f"{INTERFACE}.common.base_class:BaseAlgorithm")  # whatever the class, its environments are that library's
    cls = _imported(path)
    module, _, name = path.partition(":")
    parameters = _parameters(path, cls)
    hints: dict[str, Any] = {}
    fields: list[Any] = [("policy", str, dataclasses.field(default=_usual_policy(cls, parameters)))]
    required = set()
    for parameter in parameters.values():
        if parameter.name in NO_SETTINGS or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        default = parameter.default
        if default is parameter.empty:
            required.add(parameter.name)
            default = None
        elif not _is_json(default):
            continue  # an object, which stays the library's own
        hints[parameter.name] = parameter.annotation
        changeable = isinstance(default, list | dict)
        field = (
            dataclasses.field(default_factory=partial(deepcopy, default))
            if changeable
            else dataclasses.field(default=default)
        )
        fields.append((parameter.name, Any, field))
    library = module.partition(".")[0]
    shown = LIBRARIES.get(library, library)
    namespace = {
        "title": f"{name} ({shown})",
        "__doc__": f"{name} of {shown}, as its class {path} trains it.",
        "__module__": cls.__module__,
        "library": library,
        "library_name": shown,
        "path": path,
        "library_class": cls,
        "hints": hints,
        "required": frozenset(required),
    }
    made: type[LibraryAlgorithm] = dataclasses.make_dataclass(
        name, fields, bases=(LibraryAlgorithm,), namespace=namespace, frozen=True
    )
    made.__module__ = cls.__module__
    return made


def _parameters(path: str, cls: Any) -> dict[str, inspect.Parameter]:
    """The parameters of a class's constructor; raises InvalidLibrary where the class lacks the interface."""
    if not inspect.isclass(cls):
        raise InvalidLibrary(f"class {path} is a {type(cls).__name__}, not a class")
    lacking = [f"the method {method}" for method in ("learn", "predict") if not callable(getattr(cls, method, None))]
    parameters = dict(inspect.signature(cls.__init__).parameters)
    any_name = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    lacking += [
        f"the argument {name!r} of its constructor"
        for name in ("policy", "env", "seed")
        if name not in parameters and not any_name
    ]
    if inspect.isabstract(cls):
        lacking.append("methods, since it is abstract")
    if lacking:
        raise InvalidLibrary(
            f"class {path} has not the interface of Stable-Baselines3, which is cls(policy, env, seed=…, settings), "
            f"learn(total_timesteps) and predict(observation): it lacks {' and '.join(lacking)}"
        )
    return parameters


def _usual_policy(cls: Any, parameters: Mapping[str, inspect.Parameter]) -> str:
    """The name of the policy with a multilayer perceptron, which a class may call otherwise, such as MlpLstmPolicy."""
    given = parameters["policy"].default if "policy" in parameters else None
    known = list(getattr(cls, "policy_aliases", {}))
    usual = [given] if isinstance(given, str) else [name for name in known if name.startswith("Mlp")]
    return usual[0] if usual else "MlpPolicy"


def _imported(path: str) -> Any:
    """What an import path, module:Name, names. Raises InvalidLibrary, with what to do."""
    module, _, name = path.partition(":")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        top = missing.partition(".")[0]
        if top in LIBRARIES and missing == top:
            raise InvalidLibrary(f"{top} is not installed ({INSTALL})") from error
        if module == missing or module.startswith(f"{missing}."):
            raise InvalidLibrary(
                f"there is no module {missing!r} (of {path}); install it, or put its folder into PYTHONPATH"
            ) from error
        raise InvalidLibrary(f"{module} cannot be imported, since {missing!r} is not installed") from error
    except (Exception, SystemExit) as error:  # whatever a foreign module does when it is imported
        raise InvalidLibrary(f"{module} cannot be imported: {_said(error)}") from error
    if not hasattr(found, name):
        known = sorted(key for key, value in vars(found).items() if inspect.isclass(value) and key[0] != "_")
        lower = {key.lower(): key for key in known}
        near = [lower[key] for key in difflib.get_close_matches(name.lower(), lower, n=1)]
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known[:SHOWN_CLASSES]) or 'none'}"
        raise InvalidLibrary(f"{module} has no class {name!r}; {hint}")
    return getattr(found, name)


def _said(error: BaseException) -> str:
    """An exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _options(hint: Any) -> tuple[Any, ...]:
    """The alternatives of an annotation."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _known(option: Any) -> bool:
    """Whether a value can be held against an annotation; a text, a type variable or none says nothing."""
    return option is not Any and option is not inspect.Parameter.empty and not isinstance(option, str)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value, as YAML has it, can be one of an annotation; an object is text or a mapping (`_object`)."""
    options = _options(hint)
    if not all(map(_known, options)):
        return _is_json(value)
    kinds = [get_origin(option) or option for option in options]
    objects = any(kind not in JSON_TYPES and kind not in (dict, list, tuple, Literal) for kind in kinds)
    literal = any(get_origin(option) is Literal and value in get_args(option) for option in options)
    if isinstance(value, bool) or value is None:
        return type(value) in kinds or literal
    if isinstance(value, int | float):
        return float in kinds or (int in kinds and type(whole(value)) is int) or literal
    if isinstance(value, str):
        return str in kinds or literal or (objects and re.fullmatch(CLASS_PATH, value) is not None)
    if isinstance(value, Mapping):
        return _is_json(value) and (dict in kinds or (objects and "class" in value))
    return _is_json(value) and isinstance(value, list | tuple) and (list in kinds or tuple in kinds)


def _converted(value: Any, hint: Any) -> Any:
    """A value in the type of its annotation: 1e4 as a whole number, 1 as a float, a list as a tuple."""
    kinds = [get_origin(option) or option for option in _options(hint)]
    if isinstance(value, list) and tuple in kinds:
        return tuple(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return whole(value) if int in kinds else float(value) if float in kinds else value


def _described(hint: Any) -> str:
    """An annotation, for a person to read."""
    said = []
    for option in _options(hint):
        origin = get_origin(option) or option
        if origin is Literal:
            said += [repr(value) for value in get_args(option)]
        else:
            containers = {dict: "a mapping", list: "a list", tuple: "a list"}
            said.append(
                DESCRIBED.get(origin) or containers.get(origin, "an object (text module:Name, or a mapping with class)")
            )
    return " or ".join(dict.fromkeys(said))
