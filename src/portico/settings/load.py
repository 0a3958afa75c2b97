"""Loads the settings: the file, then the environment over it, then what follows from both, checked by the models."""

from collections.abc import Hashable, Mapping
from pathlib import Path as FilePath

import yaml
from pydantic import ValidationError

from portico.errors import ConfigurationError
from portico.settings.check import check_references
from portico.settings.environment import CONFIG, Variables, environment_layer
from portico.settings.keyring import Keyring
from portico.settings.layers import Layer, Leaf, dotted, flatten, merge, unflatten
from portico.settings.resolve import resolve
from portico.settings.root import Declaration, Settings
from portico.settings.schema import find, is_secret
from portico.settings.secrets import Secret
from portico.settings.short_form import expand_tree

DEFAULT_FILE = "portico.yaml"
MASTER_KEY = ("master_key",)


def load(config_path: FilePath | None, environ: Mapping[str, str]) -> Settings:
    """The settings in force: defaults, then the file, then the environment.

    The file is `config_path`, else what PORTICO_CONFIG names, else `portico.yaml` where it exists; `environ` is `os.environ`.
    Raises ConfigurationError for anything that is not right, without a value of it.
    """
    path = config_file(config_path, environ)
    merged = _merged(path, environ)
    keyring = _keyring(merged)
    layer = resolve(_with_secrets(merged, keyring))
    try:
        settings = Settings.model_validate(unflatten(layer))
    except ValidationError as error:
        raise _invalid(error, layer) from None
    settings._sources = {key: leaf.source for key, leaf in layer.items()}  # noqa: SLF001 - loading completes what it made
    settings._keyring = keyring  # noqa: SLF001
    settings._declarations = _declarations(settings, path)  # noqa: SLF001
    check_references(settings)
    return settings


def load_keyring(config_path: FilePath | None, environ: Mapping[str, str]) -> Keyring:
    """The master keys alone (PORTICO_MASTER_KEY[_FILE], or `master_key_file` in the file); empty where there are none.

    The other settings need not be complete, so that their secrets can be encrypted first.
    """
    return _keyring(_merged(config_file(config_path, environ), environ))


def config_file(config_path: FilePath | None, environ: Mapping[str, str]) -> FilePath | None:
    """The file that `load` reads; None where there is none."""
    if config_path is not None:
        return config_path
    named = Variables(environ).get(CONFIG)
    if named is not None:
        return FilePath(named[0])
    found = FilePath(DEFAULT_FILE)
    return found if found.is_file() else None


def read_yaml(path: FilePath) -> object:
    """The content of a YAML file. Raises ConfigurationError, with the line, for syntax that is wrong and for duplicate keys."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigurationError(f"The configuration file {path} cannot be read: {(error.strerror or 'unreadable').lower()}.") from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"The configuration file {path} is not UTF-8 text.") from None
    except yaml.MarkedYAMLError as error:
        # Neither the problem's context nor the original error is shown: both may quote a secret.
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigurationError(f"{path} is not valid YAML{line}: {error.context or 'it cannot be parsed'}.") from None
    except yaml.YAMLError:
        raise ConfigurationError(f"{path} is not valid YAML.") from None


class _UniqueKeys(yaml.SafeLoader):
    """YAML's safe loader, but a key that is given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(f"the key {key.value} is given twice", None, None, key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _merged(path: FilePath | None, environ: Mapping[str, str]) -> Layer:
    declared = _file_layer(path)
    return merge([declared, environment_layer(Settings, environ, declared)])


def _keyring(layer: Layer) -> Keyring:
    leaf = layer.get(MASTER_KEY)
    if leaf is None or leaf.value is None:
        return Keyring()
    if not isinstance(leaf.value, str):
        raise ConfigurationError(f"{leaf.source}: master_key must be a text; put it in quotes.")
    return Keyring.parse(leaf.value, leaf.source)


def _file_layer(path: FilePath | None) -> Layer:
    tree = read_yaml(path) if path is not None else None
    if path is None or tree is None:
        return {}
    source = f"file {path.name}"
    if not isinstance(tree, Mapping):
        raise ConfigurationError(f"{source}: the file must be a mapping of settings.")
    folder = path.parent
    layer = flatten(expand_tree(tree, source), Settings, source, folder)
    named = layer.get(("collections_dir",))
    if named is not None and isinstance(named.value, str):
        layer[("collections_dir",)] = Leaf(str(folder / named.value), named.source)
    return layer


def _with_secrets(layer: Layer, keyring: Keyring) -> Layer:
    wrapped: Layer = {}
    for path, leaf in layer.items():
        node = find(Settings, path)
        if node is None or not is_secret(node) or leaf.value is None:
            wrapped[path] = leaf
        elif isinstance(leaf.value, str):
            wrapped[path] = Leaf(Secret(leaf.value, name=dotted(path), keyring=keyring), leaf.source)
        else:
            raise ConfigurationError(f"{leaf.source}: {dotted(path)} must be a text; put it in quotes.")
    return wrapped


def _declarations(settings: Settings, path: FilePath | None) -> tuple[Declaration, ...]:
    written = path.name if path is not None and settings.source(("collections",)).startswith("file ") else "env PORTICO_COLLECTIONS"
    found = [Declaration(written, document) for document in settings.collections]
    if settings.collections_dir is None:
        return tuple(found)
    declared = FilePath(settings.collections_dir)
    if not declared.is_dir():
        raise ConfigurationError(f"collections_dir: {declared} is not a folder.")
    for file in sorted((*declared.glob("*.yaml"), *declared.glob("*.yml"))):
        content = read_yaml(file)
        for document in content if isinstance(content, list) else [content]:
            if not isinstance(document, dict):
                raise ConfigurationError(f"{file.name} must hold a collection, or a list of collections.")
            found.append(Declaration(file.name, document))
    return tuple(found)


def _invalid(error: ValidationError, layer: Layer) -> ConfigurationError:
    problems = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        path = tuple(str(part) for part in problem["loc"])
        source = next((layer[path[:length]].source for length in range(len(path), 0, -1) if path[:length] in layer), None)
        origin = f"{source}: " if source else ""
        problems.append(f"{origin}{dotted(path)}: {problem['msg'].removeprefix('Value error, ')}")
    return ConfigurationError("; ".join(problems) + ".", hint="`portico config` shows each setting and where it comes from.")
