"""The rows of sample data, one generator for each collection: names to plain values, JSON as dictionaries."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import timedelta

from portico.seeding import words
from portico.seeding.plan import SeedPlan

Row = dict[str, object]


def rows(plan: SeedPlan, collection: str) -> Iterator[Row]:
    """Every row of a collection, in the order of its time."""
    chance = plan.random(collection)
    make = _MAKERS[collection]
    for number in range(plan.counts[collection]):
        yield make(plan, chance, number)


def _sentence(chance: random.Random) -> str:
    text = f"{chance.choice(words.SUBJECTS)} {chance.choice(words.VERBS)} {chance.choice(words.OBJECTS)}."
    return text[0].upper() + text[1:]


def _text(chance: random.Random, least: int, most: int) -> str:
    return " ".join(_sentence(chance) for _ in range(chance.randint(least, most)))


def _user(plan: SeedPlan, chance: random.Random) -> int:
    # A few users have much and most have little.
    return int(plan.counts["users"] * chance.random() ** 2)


def _times(plan: SeedPlan, chance: random.Random, collection: str, number: int) -> Row:
    made = plan.moment(collection, number)
    changed = made + timedelta(minutes=chance.randrange(60 * 24 * 30)) if chance.random() < 0.4 else made
    return {"created_at": made, "updated_at": changed}


def _owned(plan: SeedPlan, chance: random.Random, collection: str, key: str, number: int) -> Row:
    user = plan.key("users", _user(plan, chance))
    return {key: plan.key(collection, number), "user_id": user, **_times(plan, chance, collection, number)}


def _topic(chance: random.Random) -> Row:
    return {"topic": chance.choice(words.TOPICS), "language": chance.choice(words.LANGUAGES)}


def _client(plan: SeedPlan, chance: random.Random, number: int) -> Row:
    name = words.COMPANIES[number % len(words.COMPANIES)]
    status = chance.choices(("active", "suspended", "closed"), (92, 5, 3))[0]
    return {
        "id": plan.client(number),
        "name": f"{name} {chance.choice(words.FORMS)}",
        "email": f"office@{plan.client(number).lower()}.example",
        "status": status,
        **_times(plan, chance, "clients", number),
    }


def _person(plan: SeedPlan, chance: random.Random, number: int) -> Row:
    first, last = chance.choice(words.FIRST_NAMES), chance.choice(words.LAST_NAMES)
    username = f"{first}.{last}.{plan.tag}{number + 1}".lower()
    times = _times(plan, chance, "users", number)
    seen = plan.moment("users", number) + timedelta(hours=chance.randrange(1, 2000)) if chance.random() < 0.8 else None
    return {
        "user_id": plan.key("users", number),
        "client_id": plan.client_of(number),
        "username": username,
        "email": f"{username}@example.com",
        "full_name": f"{first} {last}",
        "first_name": first,
        "last_name": last,
        "organization": chance.choice(words.COMPANIES),
        "role": chance.choices(("user", "editor", "admin"), (85, 12, 3))[0],
        "preferences": {"theme": chance.choice(("light", "dark")), "language": chance.choice(words.LANGUAGES)},
        "is_active": chance.random() < 0.95,
        "last_login": seen,
        **times,
    }


def _identity(plan: SeedPlan, chance: random.Random, number: int) -> Row:
    made = plan.moment("user_identities", number)
    return {
        "id": plan.key("user_identities", number),
        "user_id": plan.key("users", number),
        "provider": chance.choice(("google", "microsoft", "keycloak")),
        "subject": f"{plan.tag}-{chance.randrange(10**12):012d}-{number}",
        "email": f"{plan.tag}.{number + 1}@example.com",
        "created_at": made,
        "last_login": made + timedelta(hours=chance.randrange(1, 2000)) if chance.random() < 0.7 else None,
    }


def _file(plan: SeedPlan, chance: random.Random, number: int) -> Row:
    user = _user(plan, chance)
    ending, kind = chance.choice(words.FILES)
    project = chance.choice(words.PROJECTS)
    name = f"{project.lower().replace(' ', '-')}-{plan.tag}-{number + 1}.{ending}"
    return {
        "client_id": plan.client_of(user),
        "filename": name,
        "file_size": int(2 ** (8 + 17 * chance.random())),
        "file_type": ending,
        "content_type": kind,
        "upload_timestamp": plan.moment("document_metadata", number),
        "file_path": f"/files/{plan.client_of(user)}/{name}",
        "summary": _text(chance, 1, 2) if chance.random() < 0.8 else None,
        "metadata": _topic(chance) | {"pages": chance.randint(1, 60)},
        "uploaded_by": plan.key("users", user) if chance.random() < 0.9 else None,
    }


def _document(plan: SeedPlan, chance: random.Random, number: int) -> Row:
    return _owned(plan, chance, "documents", "document_id", number) | {
        "project_name": chance.choice(words.PROJECTS),
        "content": _text(chance, 2, 8),
        "metadata": _topic(chance),
        "status": chance.choices(("draft", "review", "published", "archived"), (40, 20, 30, 10))[0],
        "version": 1,
        "file_path": f"/projects/{number + 1}.md" if chance.random() < 0.5 else None,
    }


def _wireframe(plan: SeedPlan, chance: random.Random, number: int) -> Row:
    title = f"{chance.choice(words.PROJECTS)}: {chance.choice(('home', 'list', 'detail', 'settings'))} page"
    return _owned(plan, chance, "wireframes", "wireframe_id", number) | {
        "title": title,
        "html_content": f"<main><h1>{title}</h1><p>{_sentence(chance)}</p></main>",
        "css_styles": f"main {{ max-width: {chance.randrange(600, 1400, 20)}px }}",
        "metadata": {"device": chance.choice(("desktop", "tablet", "phone"))},
        "template_type": chance.choice(("landing", "dashboard", "form", "table")),
        "preview_url": f"https://previews.example.com/{plan.tag}/{number + 1}.png",
    }


def _conversation(plan: SeedPlan, chance: random.Random, number: int) -> Row:
    return _owned(plan, chance, "conversations", "conversation_id", number) | {
        "title": f"{chance.choice(words.PROJECTS)}: {_sentence(chance)[:-1].lower()}",
        "metadata": _topic(chance),
    }


def _message(plan: SeedPlan, chance: random.Random, number: int) -> Row:
    conversations = plan.counts["conversations"]
    # Every conversation has some; those that follow one another answer one another.
    conversation = number * conversations // plan.counts["messages"]
    asks = number % 2 == 0
    content = chance.choice(words.QUESTIONS) if asks else _text(chance, 1, 4)
    return {
        "message_id": plan.key("messages", number),
        "conversation_id": plan.key("conversations", conversation),
        "role": "user" if asks else "assistant",
        "content": content,
        "metadata": {} if asks else {"model": chance.choice(("small", "large"))},
        "token_count": len(content) // 4 + 1,
        "timestamp": plan.moment("messages", number),
    }


def _diagram(plan: SeedPlan, chance: random.Random, number: int) -> Row:
    kind = chance.choice(("sequence", "architecture", "usecase", "flowchart"))
    left, right = chance.sample(words.COMPANIES, 2)
    code = f"sequenceDiagram\n  {left}->>{right}: {_sentence(chance)}" if kind == "sequence" else f"flowchart LR\n  {left} --> {right}"
    return _owned(plan, chance, "diagrams", "diagram_id", number) | {
        "title": f"{chance.choice(words.PROJECTS)}: {left} and {right}",
        "diagram_type": kind,
        "mermaid_code": code,
        "preview_url": None,
        "metadata": _topic(chance),
    }


def _event(plan: SeedPlan, chance: random.Random, number: int) -> Row:
    user = _user(plan, chance)
    done = chance.random() < 0.9
    return {
        "id": plan.key("events", number),
        "data": {"type": chance.choice(words.EVENT_TYPES), "client": plan.client_of(user), "user": str(plan.key("users", user))},
        "task_context": {"state": "done", "milliseconds": chance.randrange(5, 4000)} if done else {},
        **_times(plan, chance, "events", number),
    }


_MAKERS: dict[str, Callable[[SeedPlan, random.Random, int], Row]] = {
    "clients": _client,
    "users": _person,
    "user_identities": _identity,
    "document_metadata": _file,
    "documents": _document,
    "wireframes": _wireframe,
    "conversations": _conversation,
    "messages": _message,
    "diagrams": _diagram,
    "events": _event,
}
