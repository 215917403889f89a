"""Results of policy tests as JUnit XML, the form that build servers read. One suite for each test document.

No times: cases are decided at the moment that they name, and how long that takes is no result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree

from spir.assurance.policy_tests import Result
from spir.language.kinds.policy_test import PolicyTest

__all__ = ["to_junit"]

# What XML 1.0 (2.2) has no way to write.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(suites: Iterable[tuple[PolicyTest, tuple[Result, ...]]]) -> str:
    """The document as text, ending in a line feed."""
    root = ElementTree.Element("testsuites")
    for test, results in suites:
        failed = sum(not result.passed for result in results)
        counts = {"tests": str(len(results)), "failures": str(failed), "errors": "0"}
        suite = ElementTree.SubElement(root, "testsuite", {"name": _clean(test.name), **counts})
        for result in results:
            _case(suite, test, result)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _case(suite: ElementTree.Element, test: PolicyTest, result: Result) -> None:
    place = result.case.location
    names = {"classname": _clean(test.name), "name": _clean(result.case.name)}
    case = ElementTree.SubElement(suite, "testcase", {**names, "file": place.file, "line": str(place.line)})
    if not result.passed:
        texts = [_clean(str(mismatch)) for mismatch in result.mismatches]
        ElementTree.SubElement(case, "failure", {"message": texts[0]}).text = "\n".join(texts)


def _clean(text: str) -> str:
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text)
