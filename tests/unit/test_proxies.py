"""Which requests take a proxy."""

import pytest

from skerry.node import settings as node
from skerry.node.node_settings import from_bytes, to_bytes
from skerry.node.proxies import proxies_in

BOTH = {"http_proxy": "http://plain:3128", "https_proxy": "http://ada:pw@tls:3128"}


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "http://hub:8600/x", None),
        (BOTH, "http://hub:8600/x", "http://plain:3128"),
        (BOTH, "https://hub:8600/x", "http://ada:pw@tls:3128"),
        ({"HTTP_PROXY": "p:1"}, "http://hub/", "http://p:1"),
        ({"HTTP_PROXY": "http://a:1", "http_proxy": "http://b:1"}, "http://hub/", "http://b:1"),
        ({"HTTP_PROXY": "http://a:1"}, "https://hub/", None),
        (BOTH, "http://127.0.0.1:9/", None),
        (BOTH, "http://[::1]:9/", None),
        (BOTH, "http://localhost/", None),
        (BOTH | {"no_proxy": "*"}, "http://hub/", None),
        (BOTH | {"NO_PROXY": "other, example.org"}, "http://hub.example.org/", None),
        (BOTH | {"NO_PROXY": ".example.org"}, "http://hub.example.org/", None),
        (BOTH | {"NO_PROXY": "*.example.org"}, "http://hub.example.org/", None),
        (BOTH | {"NO_PROXY": "example.org"}, "http://badexample.org/", "http://plain:3128"),
        (BOTH | {"NO_PROXY": "hub:8600"}, "http://hub:8600/", None),
        (BOTH | {"NO_PROXY": "hub:8600"}, "http://hub:8601/", "http://plain:3128"),
        (BOTH | {"NO_PROXY": "10.0.0.0/8"}, "http://10.2.3.4/", None),
        (BOTH | {"NO_PROXY": "10.0.0.0/8"}, "http://11.2.3.4/", "http://plain:3128"),
        (BOTH | {"NO_PROXY": "10.2.3.4"}, "http://10.2.3.4:80/", None),
    ],
)
def test_which_proxy(environment: dict[str, str], url: str, proxy: str | None) -> None:
    assert proxies_in(environment).of(url) == proxy


def test_they_reach_the_agent_and_are_never_shown() -> None:
    found = node.find_settings(environment={}, options={"data_dir": "/srv/n"})
    settings = node.node_settings(found, BOTH | {"NO_PROXY": "a,b"})
    assert from_bytes(to_bytes(settings)) == settings
    assert settings.proxies.direct == ("a", "b")
    assert "pw" not in repr(settings)
