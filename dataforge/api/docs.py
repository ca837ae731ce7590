"""`/docs`: the API to read and to try, served whole from this machine: no page asks another host for anything."""

from importlib.resources import files
from pathlib import Path

from litestar import MediaType, Router, get
from litestar.static_files import create_static_files_router

_PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>DataForge API</title>
  <link rel="stylesheet" href="/docs/assets/swagger-ui.css">
  <link rel="icon" href="/docs/assets/favicon-32x32.png">
</head>
<body>
  <div id="api"></div>
  <script src="/docs/assets/swagger-ui-bundle.js"></script>
  <script>
    SwaggerUIBundle({url: "/openapi.json", dom_id: "#api", defaultModelsExpandDepth: 0, tryItOutEnabled: true});
  </script>
</body>
</html>
"""


@get("/docs", media_type=MediaType.HTML, include_in_schema=False, sync_to_thread=False)
def page() -> str:
    """Swagger UI on the OpenAPI document."""
    return _PAGE


def assets() -> Router:
    """Swagger UI's own files, as the package swagger-ui-py ships them."""
    return create_static_files_router(
        path="/docs/assets", directories=[Path(str(files("swagger_ui"))) / "static"], include_in_schema=False
    )
