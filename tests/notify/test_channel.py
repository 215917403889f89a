"""A channel that could not protect what it carries is refused at birth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.notify.channel import FhirCommunication, FhirTask, Webhook
from spir.errors import DocumentError, SpirError


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/alerts", "http://localhost/", "http://[::1]:1/", "https://h/x"])
def test_https_and_this_machine_are_places_to_send_to(url):
    assert Webhook(url, b"key").url == FhirTask(url).base == FhirCommunication(url).base == url


@pytest.mark.parametrize("make", [lambda url, **o: Webhook(url, b"key", **o), FhirTask, FhirCommunication])
def test_clear_text_beyond_this_machine_must_be_asked_for(make):
    with pytest.raises(DocumentError, match="clear text"):
        make("http://alerts.example/x")
    assert make("http://alerts.example/x", allow_clear_text=True)


@pytest.mark.parametrize(
    "url", ["", "alerts", "ftp://h/", "https://", "https:///x", "https://h:99999/", "https://h/ x"]
)
def test_what_is_no_url_is_refused(url):
    with pytest.raises(DocumentError):
        FhirTask(url)


@pytest.mark.parametrize("url", ["https://me:pass@h/", "https://token@h/", "https://h/#part"])
def test_a_url_holds_a_place_and_no_secret(url):
    with pytest.raises(DocumentError) as caught:
        Webhook(url, b"key")
    assert "pass" not in str(caught.value) and "token" not in str(caught.value)


def test_a_webhook_without_a_secret_is_refused():
    with pytest.raises(DocumentError, match="secret"):
        Webhook("https://h/", b"")


def test_secrets_are_not_shown():
    shown = repr([Webhook("https://h/", b"hidden"), FhirTask("https://h/", {"Authorization": "Bearer hidden"})])
    assert "hidden" not in shown


@pytest.mark.parametrize("headers", [{"A\r\nB": "c"}, {"A": "b\r\nC: d"}, {"A B": "c"}])
def test_a_header_cannot_bring_another(headers):
    with pytest.raises(DocumentError, match="header"):
        FhirTask("https://h/", headers)


@given(st.text() | st.from_regex(r"https?://[^/]{0,20}(:[0-9]{0,6})?/.{0,10}"))
def test_any_text_is_a_url_or_our_error(url):
    try:
        Webhook(url, b"key")
    except SpirError:
        return
    assert url.lower().startswith(("http://", "https://"))
