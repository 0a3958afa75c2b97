"""The reference of the configuration leaves nothing out and is up to date."""

from pathlib import Path

from portico.settings import Settings
from portico.settings.groups import Group
from portico.settings.reference import render
from portico.settings.schema import all_keys, find, node_of

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"


def test_the_page_is_what_the_code_writes():
    assert PAGE.read_text(encoding="utf-8") == render(), "run: python -m portico.settings.reference > docs/reference/configuration.md"


def test_every_setting_is_on_the_page_with_its_meaning():
    page = render()
    for path in all_keys(Settings):
        node = find(Settings, path)
        assert node is not None
        if node.model is None:
            assert f"`PORTICO_{'__'.join(key.upper() for key in path).replace('*', 'NAME')}`" in page


def test_no_group_of_settings_has_more_than_twenty():
    def models(model: type[Group]):
        yield model
        for field in model.model_fields.values():
            inner = node_of(field.annotation).model
            if inner is not None:
                yield from models(inner)

    for model in models(Settings):
        assert len(model.model_fields) <= 20, model.__name__
        assert all(field.description for name, field in model.model_fields.items() if node_of(field.annotation).model is None), (
            model.__name__
        )
