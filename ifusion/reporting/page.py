"""Pages of HTML: without scripts or network, and safe against what data holds."""

import base64
from typing import Any

import jinja2

from ifusion.terminal import printable


def render_page(template: str, **values: Any) -> str:
    """Renders a template of this folder, with escaping on.

    Control characters become visible, except line ends.

    Args:
      template: name of its file.
      values: values that it shows; a missing one is an error.
    """

    def finalize(value: object) -> object:
        if not isinstance(value, str) or hasattr(value, "__html__"):
            return value
        return "\n".join(map(printable, value.splitlines()))

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ifusion.reporting", ""),
        autoescape=True,
        finalize=finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def data_url(picture: bytes, kind: str) -> str:
    """Encodes a picture as a data URL, so that a page is self-contained."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
