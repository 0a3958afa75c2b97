"""`/`, the OpenAPI document made from the catalog, and the interactive docs with assets of our own, so that they work offline."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, Request, Response

from portico.api.control import Caller, Parts, bare
from portico.api.middleware.faults import route_not_found

router = APIRouter()

_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon.png": "image/png",
}
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Portico: interactive docs</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" href="/docs/favicon.png">
</head>
<body>
<div id="docs"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START = """
function show(spec, key) {
  const ui = SwaggerUIBundle({
    spec, dom_id: "#docs", deepLinking: true, docExpansion: "none", filter: true, tryItOutEnabled: true,
    persistAuthorization: false, displayRequestDuration: true, validatorUrl: null,
    onComplete: () => { if (key) { ui.preauthorizeApiKey("ApiKey", key); } }
  });
}
function ask() {
  const form = document.createElement("form");
  form.innerHTML = '<p><label>API key <input type="password" autocomplete="off" required size="60"></label> <button>Show</button></p>';
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    load(form.querySelector("input").value);
  });
  document.getElementById("docs").replaceChildren(form);
  form.querySelector("input").focus();
}
async function load(key) {
  const answer = await fetch("/openapi.json", { headers: key ? { "X-API-Key": key } : {} });
  if (answer.ok) { show(await answer.json(), key); } else { ask(); }
}
load("");
"""


@router.get("/")
async def get_root(control: Parts) -> Response:
    """What this is, and where its parts are."""
    return bare({"service": control.service_name, "version": control.version, "links": control.links})


@router.get("/openapi.json")
async def get_openapi(request: Request, control: Parts, caller: Caller) -> Response:
    """The OpenAPI document of what the caller may use."""
    body = control.openapi.document(caller)
    tag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "private, no-cache", "vary": "Authorization, X-API-Key"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


@router.get("/docs")
async def get_docs(control: Parts) -> Response:
    """The interactive docs."""
    _require_docs(control.docs)
    return Response(_PAGE, media_type="text/html", headers={"content-security-policy": _POLICY, "x-content-type-options": "nosniff"})


@router.get("/docs/{asset}")
async def get_docs_asset(control: Parts, asset: str) -> Response:
    """A script, style or picture of the interactive docs."""
    _require_docs(control.docs)
    if asset == "start.js":
        return Response(_START, media_type="text/javascript; charset=utf-8")
    if asset not in _ASSETS:
        raise route_not_found()
    body = (_assets_folder() / asset).read_bytes()
    return Response(body, media_type=_ASSETS[asset], headers={"cache-control": "max-age=86400"})


def _require_docs(served: bool) -> None:
    if not served:
        raise route_not_found()


@cache
def _assets_folder() -> Path:
    """Where the package that carries Swagger UI keeps it. The package itself is not imported."""
    spec = find_spec("fastapi_offline")
    assert spec is not None, "a dependency of Portico"
    assert spec.origin is not None, "a package with files"
    return Path(spec.origin).parent / "static"
