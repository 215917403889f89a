"""The `spir` command: the arguments of every subcommand, and nothing else.

What a subcommand does is loaded when it is called. Errors of ours end in one
line that names file, line and cure; never in a traceback.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import TypeAlias

from adapters.version import VERSION

__all__ = ["main", "parser"]

CONFIG = "spir.toml"

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code: 0 ok, 1 finding or denied, 2 usage or bad input."""
    arguments = parser().parse_args(argv)
    from spir.errors import SpirError

    module, _, function = arguments.run.partition(":")
    try:
        return int(getattr(importlib.import_module(f"adapters.commands.{module}"), function)(arguments))
    except SpirError as error:
        print(f"spir: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read our output has seen enough; closing it ourselves keeps the interpreter quiet at exit.
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="spir", description="One access policy for HL7 v2, DICOM and FHIR.")
    top.add_argument("--version", action="version", version=f"spir {VERSION}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _gateway(commands)
    _policy(commands)
    _checking(commands)
    _authoring(commands)
    _roles(commands)
    _templates(commands)
    _operations(commands)
    _audit(commands)
    _bundles(commands)
    _environment(commands)
    return top


def _command(commands: Commands, name: str, run: str, help: str) -> argparse.ArgumentParser:
    found: argparse.ArgumentParser = commands.add_parser(name, help=help, description=f"{help[:1].upper()}{help[1:]}.")
    found.add_argument("--json", action="store_true", help="answer in JSON")
    found.set_defaults(run=run)
    return found


def _group(commands: Commands, name: str, help: str) -> Commands:
    group = commands.add_parser(name, help=help, description=f"{help[:1].upper()}{help[1:]}.")
    return group.add_subparsers(title="commands", metavar="COMMAND", required=True)


def _configured(command: argparse.ArgumentParser) -> None:
    command.add_argument("-c", "--config", default=CONFIG, help=f"configuration file (default: {CONFIG})")


def _gateway(commands: Commands) -> None:
    serve = _command(commands, "serve", "gateway:serve", "run the gateway")
    _configured(serve)
    serve.add_argument(
        "--only", default="", help="listeners to run: any of dicom,hl7,fhir,pdp (default: all configured)"
    )
    demo = _command(commands, "demo", "gateway:demo", "play the story on embedded sandbox systems")
    demo.add_argument("--once", action="store_true", help="stop at the end; exit 0 only if every step was as expected")
    demo.add_argument("--data", default=".demo", help="folder for the demo's files (default: .demo)")


def _policy(commands: Commands) -> None:
    for name, run, help in (
        ("eval", "policy:evaluate", "decide on a request"),
        ("explain", "policy:explain", "say why a request is decided as it is, and what smallest change would flip it"),
        ("plan", "planning:plan", "say what is left to check on data, and what each protocol asks its peer for"),
    ):
        command = _command(commands, name, run, help)
        command.add_argument("-p", "--policies", action="append", default=[], help="policy files or folders")
        command.add_argument("-r", "--request", help="AuthZEN request as JSON; - reads standard input")
        command.add_argument("--facts", action="append", default=[], help="HL7 v2 messages to learn facts from first")
        command.add_argument("--directory", default="", help="staff directory, to know the people in the messages")
        command.add_argument("--at", default="", help="decide as of this moment (RFC 3339; default: now)")
        command.add_argument("-c", "--config", default="", help="take policies, directory and site from this file")
        if name == "explain":
            command.add_argument("--event", type=int, help="explain the decision of this audit event instead")
        if name == "plan":
            command.add_argument("--unknown", default="resource", help="what comes row by row, as resource,context.ip")
    schema = _command(commands, "schema", "policy:schema", "print the JSON Schema of a document kind")
    schema.add_argument("kind", nargs="?", default="", help="such as PolicySet (default: list the kinds)")


def _checking(commands: Commands) -> None:
    check = _command(
        commands, "check", "checking:check", "check that policies are consistent, with a request for each finding"
    )
    check.add_argument("paths", nargs="*", metavar="PATH", help="policy files or folders (default: those of -c)")
    check.add_argument("-c", "--config", default="", help="take policies, directory and site from this file")
    check.add_argument("--directory", default="", help="staff directory: finds permits that nobody can use")
    check.add_argument("--suppressions", default="", metavar="FILE", help="acknowledged findings")
    check.add_argument("--suggest", action="store_true", help="write entries for such a file, to be filled in")
    check.add_argument("--only", default="", metavar="IDS", help="run these checks only, as dead,conflict")
    check.add_argument("--fail-on", default="warning", choices=["error", "warning", "note"], help="(default: warning)")
    check.add_argument("--sarif", default="", metavar="FILE", help="write the findings as SARIF 2.1.0; - is the output")
    check.add_argument("--at", default="", help="check as of this moment (RFC 3339; default: now)")
    check.add_argument(
        "--within", type=float, default=300.0, metavar="SECONDS", help="stop after so long (default: 300)"
    )
    check.add_argument("--manual", nargs="?", const="", metavar="IDS", help="print what each check means, and stop")


def _authoring(commands: Commands) -> None:
    test = _command(commands, "test", "testing:test", "run policy tests and report what they cover")
    test.add_argument("paths", nargs="+", metavar="PATH", help="*_test.yaml files, or folders with tests and policies")
    test.add_argument("--junit", default="", metavar="FILE", help="write the results as JUnit XML, too")
    test.add_argument("--fail-under", type=float, default=0.0, metavar="N", help="fail below this coverage in percent")
    test.add_argument("--directory", default="", help="staff directory, for tests that name none")
    diff = _command(commands, "diff", "difference:diff", "say what a change of policies newly permits and newly denies")
    diff.add_argument("old", metavar="OLD", help="policy file, folder or bundle")
    diff.add_argument("new", metavar="NEW", help="the same, changed")
    diff.add_argument("--fail-on", choices=["permit", "deny", "any"], default="any", help="what exits 1 (default: any)")
    diff.add_argument("--timezone", default="UTC", help="time zone of the site (default: UTC)")
    diff.add_argument("-c", "--config", default="", help="take the site from this configuration file")
    fmt = _command(commands, "fmt", "formatting:fmt", "write documents in their canonical form; comments are kept")
    fmt.add_argument("paths", nargs="+", metavar="PATH", help="documents, or folders with them")
    fmt.add_argument("--check", action="store_true", help="change nothing; exit 1 if something would change")
    bench = _command(commands, "bench", "measuring:bench", "measure how fast the engine decides here")
    bench.add_argument("--peers", action="store_true", help="and the peers that are installed")


def _roles(commands: Commands) -> None:
    roles = _command(commands, "roles", "roles:roles", "report on the roles of an RBAC export, and propose policies")
    roles.add_argument(
        "files", nargs="+", metavar="FILE", help="the export, CSV or JSON; several files make one export"
    )
    roles.add_argument("--propose", default="", metavar="DIR", help="write the policies that replace the roles here")
    roles.add_argument(
        "-p", "--policies", action="append", default=[], help="the site's documents, for what they declare"
    )
    roles.add_argument("--directory", default="", help="staff directory, for what people are")
    roles.add_argument("--ignore", action="append", default=[], metavar="COLUMN", help="pass a column over")
    roles.add_argument("--encoding", default="utf-8", help="of the export, as gb18030 (default: utf-8)")
    roles.add_argument(
        "--allow-wins", action="store_true", help="where one role allows and another denies, it is allowed"
    )
    roles.add_argument("--clean", action="store_true", help="propose without what is left of revoked roles")
    roles.add_argument(
        "--within", type=float, default=60.0, metavar="SECONDS", help="for what changes for others (default: 60)"
    )
    roles.add_argument("--name", default="staff-access", help="of the proposed document (default: staff-access)")
    roles.add_argument(
        "--jurisdiction", default="", help="of the proposed document, as cn/zj/hospital-a (default: all)"
    )


def _templates(commands: Commands) -> None:
    template = _group(commands, "template", "policies with parameters")
    for name, run, help in (
        ("list", "templates:listed", "list the templates that ship, and those of a site"),
        ("show", "templates:show", "show what a template says and what it takes"),
        ("new", "templates:new", "write a policy made from a template, to be changed"),
    ):
        command = _command(template, name, run, help)
        command.add_argument("-p", "--policies", action="append", default=[], help="the site's own files or folders")
        command.add_argument("--lang", default="en", choices=["en", "zh"], help="of titles and descriptions")
        if name != "list":
            command.add_argument("id", help="template_id")
        if name == "show":
            command.add_argument("--key", action="append", default=[], help="public key that must have signed it")
        if name == "new":
            command.add_argument("--as", dest="policy", default="", metavar="ID", help="the policy's id")
    sign = _command(template, "sign", "templates:sign", "write a template's digest and a signature into its file")
    sign.add_argument("file")
    sign.add_argument("--key", required=True, help="private key (PEM); made, with its .pub, if there is none")


def _operations(commands: Commands) -> None:
    facts = _group(commands, "facts", "live facts of a gateway")
    for name, help in (("get", "show the facts about a patient"), ("watch", "print facts as they change")):
        command = _command(facts, name, f"facts:{name}", help)
        _configured(command)
        command.add_argument("key", nargs="?", default="", help="as HIS|P001, or staff:dr.li")
        if name == "watch":
            command.add_argument("--count", type=int, default=0, help="stop after so many changes")
    hl7 = _group(commands, "hl7", "HL7 v2 messages")
    send = _command(hl7, "send", "messages:send", "send messages over MLLP and show the acknowledgements")
    _configured(send)
    send.add_argument("files", nargs="+", help="files with one message each; - reads standard input")
    send.add_argument("--to", default="", help="host:port (default: the listener of the configuration)")
    listing = _command(hl7, "list", "messages:listed", "list the messages that a gateway has received")
    _configured(listing)
    listing.add_argument("--state", default="", choices=["", "applied", "refused", "unreadable", "received"])
    listing.add_argument("--limit", type=int, default=50)
    show = _command(hl7, "show", "messages:show", "show one received message as it came (contains patient data)")
    _configured(show)
    show.add_argument("number", type=int)


def _audit(commands: Commands) -> None:
    audit = _group(commands, "audit", "the audit trail")
    verify = _command(audit, "verify", "audit:verify", "prove that nothing was changed, removed or added")
    _configured(verify)
    verify.add_argument("--journal", default="", help="journal file (default: that of the configuration)")
    verify.add_argument("--key", default="", help="public key (PEM) of the checkpoints")
    verify.add_argument("--checkpoints", default="", help="checkpoints kept elsewhere, to detect a cut-off end")
    search = _command(audit, "search", "audit:search", "find events")
    _configured(search)
    search.add_argument("--patient", default="", help="clear patient id, as HIS|P001")
    for name in ("subject", "operation", "effect", "outcome", "protocol", "since", "until"):
        search.add_argument(f"--{name}", default="")
    search.add_argument("--limit", type=int, default=50)
    export = _command(audit, "export", "audit:export", "write the trail as NDJSON, ready for offline verification")
    _configured(export)
    export.add_argument("file")


def _bundles(commands: Commands) -> None:
    bundle = _group(commands, "bundle", "signed sets of documents")
    build = _command(bundle, "build", "bundles:build", "pack documents into a bundle")
    build.add_argument("paths", nargs="+", help="policy files and folders")
    build.add_argument("-o", "--output", required=True, help="file to write, as policies.bundle")
    build.add_argument("--generation", type=int, default=0, help="must grow from bundle to bundle (default: one more)")
    build.add_argument("--after", default="", help="the bundle that this one is to follow")
    sign = _command(bundle, "sign", "bundles:sign", "sign a bundle with an Ed25519 key")
    sign.add_argument("file")
    sign.add_argument("--key", required=True, help="private key (PEM); made, with its .pub, if there is none")
    verify = _command(bundle, "verify", "bundles:verified", "check who signed a bundle, and that it is whole")
    _configured(verify)
    verify.add_argument("file")
    verify.add_argument("--key", action="append", default=[], help="public key (default: those of the configuration)")
    push = _command(bundle, "push", "bundles:push", "put a bundle where the gateway takes it into force")
    _configured(push)
    push.add_argument("file")
    rollback = _command(bundle, "rollback", "bundles:rollback", "bring an older bundle back into force")
    _configured(rollback)
    rollback.add_argument("--to", type=int, default=0, help="generation (default: the one before)")


def _environment(commands: Commands) -> None:
    _configured(_command(commands, "doctor", "environment:doctor", "check this installation and its configuration"))
    config = _group(commands, "config", "the configuration file")
    _command(config, "schema", "environment:config_schema", "print the JSON Schema of spir.toml")
    check = _command(config, "check", "environment:config_check", "check a configuration and all it refers to")
    _configured(check)


if __name__ == "__main__":
    sys.exit(main())
