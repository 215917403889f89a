"""The names that systems give to the columns of their exports, and the words they write into them.

A table and its reading. A column that is not here is refused rather than
passed over: an unread column might be the one that says `deny`. Those in
`PASSED_OVER` are known to say nothing about access.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from spir.errors import DocumentError, Location
from spir.language.nearest import suggestion
from spir.language.vocabulary import Vocabulary

__all__ = ["PASS", "PERSONAL", "Columns", "truth"]

PASS = ""  # the column is passed over

# ours -> how exports spell it, in lower case with `_` for what divides words
NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "user": (
            *("user", "user_id", "userid", "user_name", "username", "login", "account", "staff", "staff_id"),
            *("employee", "employee_id", "principal", "member", "subject", "用户", "用户名", "账号", "工号", "人员"),
        ),
        "role": ("role", "role_id", "role_name", "rolename", "角色", "角色名", "角色名称"),
        "permission": (
            *("permission", "permission_name", "privilege", "right", "entitlement", "operation", "operation_code"),
            *("权限", "权限名称", "操作码"),
        ),
        "action": ("action", "verb", "操作", "动作"),
        "resource": ("resource", "resource_type", "object", "资源", "对象"),
        "effect": ("effect", "decision", "allow_deny", "allow/deny", "allow", "allowed", "授权", "效果"),
        "denied": ("deny", "denied", "拒绝", "禁止"),
        "parent": (
            *("parent", "parent_role", "inherits", "inherits_from", "inherited_role", "extends"),
            *("上级角色", "父角色", "继承", "继承自"),
        ),
        "active": ("active", "is_active", "enabled", "status", "state", "启用", "状态", "有效"),
        "revoked": ("revoked", "is_revoked", "disabled", "撤销", "已撤销", "停用"),
        # what many keep about their people, by the attribute it is here
        "subject.department": ("department", "department_name", "dept", "dept_name", "科室", "部门"),
        "subject.role": ("profession", "occupation", "job", "job_title", "position", "职业", "岗位", "职务"),
        "subject.organization": ("organization", "organisation", "hospital", "institution", "机构", "医院", "院区"),
        "subject.license": ("license", "licence", "执业证号"),
        "subject.clearance": ("clearance", "clearance_level", "密级"),
    }
)

# In lists of one kind of thing, its own name goes without saying: {"roles": [{"name": "nurse", ...}]}.
SECTIONS: Mapping[str, str] = MappingProxyType({"users": "user", "roles": "role", "permissions": "permission"})
PLURALS: Mapping[str, str] = MappingProxyType(
    {"roles": "role", "permissions": "permission", "parents": "parent", "users": "user", "members": "user"}
)

PASSED_OVER = frozenset(
    (
        *("description", "role_description", "comment", "comments", "note", "notes", "remark", "display_name", "name"),
        *("full_name", "id", "no", "row", "created", "created_at", "created_by", "updated", "updated_at", "email"),
        *("phone", "备注", "描述", "说明", "姓名", "序号", "创建时间", "更新时间"),
    )
)

# What says who somebody is, rather than what he is like: no condition of a proposal is about these.
PERSONAL = frozenset(("subject.id", "subject.license", "subject.certificate", "subject.spiffe", "subject.device"))

# Lists of people's attributes that an export's own columns stand for, or that come from verified credentials.
_OURS = frozenset(("subject.type", "subject.roles", "subject.permissions", "subject.scopes", *PERSONAL))

_WORDS: Mapping[str, Mapping[bool, str]] = MappingProxyType(
    {
        "effect": {
            True: "allow allowed permit permitted grant granted yes y true 1 + 允许 授权 是",
            False: "deny denied forbid forbidden prohibit no n false 0 - 拒绝 禁止 否",
        },
        "active": {
            True: "active enabled current valid yes y true 1 启用 有效 正常 是",
            False: "inactive disabled revoked retired expired deleted no n false 0 停用 撤销 已撤销 无效 禁用 否",
        },
        "flag": {True: "yes y true 1 是", False: "no n false 0 否"},
    }
)
_READ = {kind: {w: truth for truth, words in both.items() for w in words.split()} for kind, both in _WORDS.items()}

_DIVIDERS = re.compile(r"[\s_-]+")


class Columns:
    """What the headers of one export mean, with the attributes of people that the vocabulary declares."""

    def __init__(self, vocabulary: Vocabulary, passed_over: Iterable[str] = ()) -> None:
        self._known = {spelling: ours for ours, spellings in NAMES.items() for spelling in spellings}
        self._passed_over = PASSED_OVER | {_plain(name) for name in passed_over}
        for path, declaration in vocabulary.attributes.items():
            name = path.removeprefix("subject.")
            if path.startswith("subject.") and path not in _OURS and declaration.kind.type in ("string", "int"):
                self._known.setdefault(name, path)

    def meaning(self, header: str, at: Location, section: str = "") -> str:
        """Our name of a column, PASS for none. `section` is the list it stands in. Raises DocumentError."""
        name = _plain(header)
        if section in SECTIONS and name in ("id", "name"):
            return SECTIONS[section]
        if name in self._passed_over:
            return PASS
        if name not in self._known:
            hint = suggestion(name, self._known) or "pass it over with --ignore if it says nothing about access"
            raise DocumentError(f"the column `{header[:60]}` is not known", hint=hint, location=at)
        return self._known[name]

    def knows(self, headers: Collection[str]) -> int:
        """How many of these are known: which divider a file uses is seen from that."""
        return sum(_plain(header) in self._known or _plain(header) in self._passed_over for header in headers)


def truth(column: str, text: str, at: Location) -> bool:
    """What a cell of `effect`, `denied`, `active` or `revoked` says. Raises DocumentError for any other word."""
    kind = column if column in _READ else "flag"
    found = _READ[kind].get(text.casefold())
    if found is None:
        hint = " or ".join(words.split()[0] for words in _WORDS[kind].values())
        raise DocumentError(f"`{column}` cannot be `{text[:60]}`", hint=f"write {hint}", location=at)
    return found


def _plain(header: str) -> str:
    return _DIVIDERS.sub("_", header.strip().strip("\ufeff").casefold())
